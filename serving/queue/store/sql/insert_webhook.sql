INSERT INTO webhook (id, notification, principal, event, reason, at, state, available_at)
SELECT json_extract(value, '$.number'), notification.id, principal.id, json_extract(value, '$.event'),
    json_extract(value, '$.reason'), :now,
    CASE WHEN json_extract(principal.policy, '$.webhook.gone_at') IS NULL THEN 'waiting' ELSE 'given_up' END, :now
FROM json_each(:rows)
JOIN notification ON notification.id = json_extract(value, '$.id')
JOIN message ON message.id = notification.message
JOIN principal ON principal.id = message.principal
WHERE principal.revoked_at IS NULL AND json_extract(principal.policy, '$.webhook.url') IS NOT NULL
