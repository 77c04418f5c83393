SELECT id, message, recipient, stage, attempt, priority, facts, woken,
    EXISTS (SELECT 1 FROM notification AS parent WHERE parent.via = notification.id) AS is_digest,
    EXISTS (SELECT 1 FROM envelope WHERE envelope.notification = notification.id) AS has_envelope,
    EXISTS (SELECT 1 FROM counted WHERE counted.notification = notification.id AND counted.kind = 'seen') AS is_seen
FROM notification
WHERE id = :id AND state = 'leased' AND fence = :fence AND owner = :owner
/* postgresql: FOR UPDATE */
