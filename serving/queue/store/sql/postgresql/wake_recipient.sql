UPDATE notification SET state = 'queued', available_at = :now, attempt = 0
WHERE recipient = :lookup AND stage = :stage AND state = 'parked'
RETURNING id, stage
