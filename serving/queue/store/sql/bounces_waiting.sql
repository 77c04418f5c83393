SELECT notification.id, message, recipient, address, principal, facts, notification.accepted_at, action, reply, bounce.at
FROM bounce JOIN notification ON notification.id = bounce.notification JOIN message ON message.id = notification.message
WHERE is_told = 0
ORDER BY bounce.at LIMIT :limit
