UPDATE webhook SET state = :state, available_at = :available_at, reply = :reply
WHERE id = :id AND attempt = :attempt AND state = 'waiting'
RETURNING principal
