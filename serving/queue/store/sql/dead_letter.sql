SELECT notification.id, principal, body, recipient, address, priority, facts FROM notification
JOIN message ON message.id = notification.message
WHERE notification.id = :id AND state = 'dead'
/* postgresql: FOR UPDATE OF notification */
