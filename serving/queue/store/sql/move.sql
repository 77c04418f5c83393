UPDATE notification
SET stage = moved.stage, state = moved.state, priority = moved.priority, facts = moved.facts,
    available_at = CASE WHEN moved.at_once THEN :now ELSE moved.until END,
    attempt = 0, owner = NULL, lease_until = NULL
FROM (
    SELECT json_extract(value, '$.id') AS id, json_extract(value, '$.stage') AS stage,
        json_extract(value, '$.state') AS state, json_extract(value, '$.priority') AS priority,
        json_extract(value, '$.facts') AS facts, json_extract(value, '$.at_once') AS at_once,
        json_extract(value, '$.until') AS until
    FROM json_each(:rows)) AS moved
WHERE notification.id = moved.id
