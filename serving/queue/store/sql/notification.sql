SELECT notification.id, message, ordinal, recipient, message.principal, stage, state, attempt, priority, available_at, notification.accepted_at,
    facts, via
FROM notification JOIN message ON message.id = notification.message
WHERE notification.id = :id
