SELECT DISTINCT message FROM notification
WHERE message IN (SELECT value::bigint FROM json_array_elements_text(:messages::json))
    AND stage IN (SELECT value FROM json_array_elements_text(:stages::json))
