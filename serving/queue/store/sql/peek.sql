SELECT notification.id, message, principal, stage, state, attempt, priority, available_at, notification.accepted_at
FROM notification JOIN message ON message.id = notification.message
WHERE stage = :stage AND state = :state
ORDER BY available_at, notification.id LIMIT :limit
