SELECT notification.state, notification.stage, notification.facts, notification.accepted_at, message.principal,
    (SELECT min(at) FROM event WHERE event.notification = notification.id
        AND event.next = coalesce(notification.stage, notification.state)) AS since,
    (SELECT min(at) FROM reaction WHERE reaction.notification = notification.id
        AND reaction.kind <> 'not_urgent') AS acknowledged_at,
    EXISTS (SELECT 1 FROM event WHERE event.notification = notification.id AND event.kind = 'killed') AS killed,
    EXISTS (SELECT 1 FROM bounce WHERE bounce.notification = notification.id AND bounce.action = 'failed') AS bounced
FROM notification JOIN message ON message.id = notification.message
WHERE notification.id = :id
