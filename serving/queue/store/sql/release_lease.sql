UPDATE notification SET state = 'queued', available_at = :now, owner = NULL, lease_until = NULL
WHERE id = :id AND fence = :fence AND state = 'leased'
RETURNING stage
