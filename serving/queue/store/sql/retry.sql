UPDATE notification SET state = 'queued', available_at = :available_at, owner = NULL, lease_until = NULL WHERE id = :id
