UPDATE notification SET state = 'queued', available_at = :now, attempt = 0
WHERE id = :id AND state IN ('parked', 'deferred', 'queued') AND via IS NULL
RETURNING id, stage
