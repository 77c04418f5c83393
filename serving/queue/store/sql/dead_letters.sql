SELECT notification.id, message, principal, event.stage, event.kind AS cause, event.at AS died_at, notification.accepted_at,
    event.detail, notification.facts
FROM notification JOIN message ON message.id = notification.message
    JOIN event ON event.notification = notification.id AND event.next = 'dead'
WHERE notification.stage IS NULL AND notification.state = 'dead'
ORDER BY event.at DESC, notification.id LIMIT :limit
