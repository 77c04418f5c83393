INSERT INTO webhook (id, notification, principal, event, reason, at, state, available_at)
SELECT added.number, notification.id, principal.id, added.event, added.reason, :now,
    CASE WHEN policy::json #>> '{webhook,gone_at}' IS NULL THEN 'waiting' ELSE 'given_up' END, :now
FROM json_to_recordset(:rows::json) AS added (id bigint, number bigint, event text, reason text)
JOIN notification ON notification.id = added.id
JOIN message ON message.id = notification.message
JOIN principal ON principal.id = message.principal
WHERE principal.revoked_at IS NULL AND policy::json #>> '{webhook,url}' IS NOT NULL
