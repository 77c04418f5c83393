SELECT notification.id, message, message.principal, notification.stage, notification.state
FROM notification JOIN message ON message.id = notification.message
WHERE message = :message
ORDER BY ordinal
LIMIT :limit
