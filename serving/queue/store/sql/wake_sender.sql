UPDATE notification SET state = 'queued', available_at = :now, attempt = 0
WHERE stage = :stage AND state = 'parked'
    AND (SELECT principal FROM message WHERE message.id = notification.message) = :principal
RETURNING id, stage
