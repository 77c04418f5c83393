UPDATE notification
SET stage = moved.stage, state = moved.state, priority = moved.priority, facts = moved.facts,
    available_at = CASE WHEN moved.at_once THEN :now ELSE moved.until END,
    attempt = 0, owner = NULL, lease_until = NULL
FROM json_to_recordset(:rows::json)
    AS moved (id bigint, stage text, state text, priority bigint, facts text, at_once boolean, until float8)
WHERE notification.id = moved.id
