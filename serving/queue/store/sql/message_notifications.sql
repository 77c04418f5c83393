SELECT id FROM notification WHERE message = :message ORDER BY ordinal
