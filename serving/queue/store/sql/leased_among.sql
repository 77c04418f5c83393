SELECT id, fence, owner, message, recipient, stage, attempt, priority, facts, woken,
    EXISTS (SELECT 1 FROM notification AS parent WHERE parent.via = notification.id) AS is_digest
FROM notification
WHERE id IN (SELECT value FROM json_each(:ids)) AND state = 'leased'
