UPDATE webhook SET attempt = attempt + 1, available_at = :until
WHERE id IN (
    SELECT id FROM webhook AS due
    WHERE principal = :principal AND state = 'waiting' AND available_at <= :now
        AND NOT EXISTS (
            SELECT 1 FROM webhook AS earlier
            WHERE earlier.notification = due.notification AND earlier.id < due.id AND earlier.state = 'waiting')
    ORDER BY available_at, id
    LIMIT :count
    /* postgresql: FOR UPDATE SKIP LOCKED */)
RETURNING id, notification, event, reason, at, attempt,
    (SELECT message FROM notification WHERE notification.id = webhook.notification) AS message,
    (SELECT via FROM notification WHERE notification.id = webhook.notification) AS via,
    (SELECT facts FROM notification WHERE notification.id = webhook.notification) AS facts
