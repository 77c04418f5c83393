SELECT id, message, recipient, stage, attempt, priority, facts, woken,
    EXISTS (SELECT 1 FROM notification AS parent WHERE parent.via = notification.id) AS is_digest
FROM notification
WHERE id = :id AND state IN ('queued', 'deferred', 'parked') AND via IS NULL
/* postgresql: FOR UPDATE */
