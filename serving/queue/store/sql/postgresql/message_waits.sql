SELECT 1 FROM notification
WHERE message = :message AND stage IN (SELECT value FROM json_array_elements_text(:stages::json)) LIMIT 1
