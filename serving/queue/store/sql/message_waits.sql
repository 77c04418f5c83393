SELECT 1 FROM notification WHERE message = :message AND stage = :stage LIMIT 1
