UPDATE notification SET state = 'queued', available_at = :now, owner = NULL, lease_until = NULL
WHERE id IN (SELECT id FROM notification WHERE state = 'leased' AND lease_until < :now FOR UPDATE SKIP LOCKED)
RETURNING id, fence, stage
