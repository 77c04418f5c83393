SELECT 1 FROM notification WHERE message = :message AND stage IN (SELECT value FROM json_each(:stages)) LIMIT 1
