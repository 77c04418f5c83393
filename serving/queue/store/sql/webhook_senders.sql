WITH RECURSIVE sender (id) AS (
    SELECT min(principal) FROM webhook WHERE state = 'waiting'
    UNION ALL
    SELECT (SELECT min(principal) FROM webhook WHERE state = 'waiting' AND principal > sender.id)
    FROM sender WHERE sender.id IS NOT NULL)
SELECT principal.id, principal.policy FROM sender JOIN principal ON principal.id = sender.id
WHERE EXISTS (
    SELECT 1 FROM webhook WHERE webhook.principal = principal.id AND state = 'waiting' AND available_at <= :now)
ORDER BY principal.id
