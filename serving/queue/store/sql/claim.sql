UPDATE notification
SET state = 'leased', owner = :owner, lease_until = :until, fence = fence + 1, attempt = attempt + 1, woken = 0
WHERE id IN (
    SELECT id FROM (
        SELECT id, SUM(octets) OVER (ORDER BY available_at, id ROWS UNBOUNDED PRECEDING) - octets AS octets_before
        FROM (
            SELECT id, available_at, CASE
                WHEN :what = 'message' THEN (SELECT length(body) FROM message WHERE message.id = notification.message)
                WHEN :what = 'envelope' THEN (SELECT length(body) FROM envelope WHERE envelope.notification = notification.id)
                ELSE 0 END AS octets
            FROM notification
            WHERE stage = :stage AND priority = :priority AND available_at <= :now AND available_at IS NOT NULL
                AND state IN ('queued', 'deferred', 'parked')
            ORDER BY available_at, id
            LIMIT :count
            /* postgresql: FOR UPDATE SKIP LOCKED */) AS due) AS measured
    WHERE octets_before < :octets)
RETURNING id, fence, message, ordinal, attempt, priority, accepted_at, recipient, address, facts,
    (SELECT principal FROM message WHERE message.id = notification.message) AS principal,
    CASE WHEN :what = 'message' THEN (SELECT body FROM message WHERE message.id = notification.message)
        WHEN :what = 'envelope' THEN (SELECT body FROM envelope WHERE envelope.notification = notification.id) END AS body
