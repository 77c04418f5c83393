SELECT id, message, recipient, stage, attempt, priority, facts, woken,
    EXISTS (SELECT 1 FROM notification AS parent WHERE parent.via = notification.id) AS is_digest
FROM notification
WHERE id = :id AND state = 'leased' AND fence = :fence AND owner = :owner
/* postgresql: FOR UPDATE */
