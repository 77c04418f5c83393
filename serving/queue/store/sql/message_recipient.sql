SELECT id FROM notification WHERE message = :message AND recipient = :recipient ORDER BY ordinal LIMIT 1
