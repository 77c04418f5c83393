UPDATE notification SET state = 'queued', available_at = :now, owner = NULL, lease_until = NULL
WHERE state = 'leased' AND owner = :owner
RETURNING stage
