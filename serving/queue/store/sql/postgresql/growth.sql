SELECT message, key, count, at, link FROM growth
WHERE message IN (SELECT value::bigint FROM json_array_elements_text(:messages::json)) ORDER BY position
