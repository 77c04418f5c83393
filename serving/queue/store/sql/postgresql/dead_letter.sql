SELECT notification.id, principal, body, recipient, address, priority, facts FROM notification
JOIN message ON message.id = notification.message
WHERE notification.id = :id AND state = 'dead'
FOR UPDATE OF notification
