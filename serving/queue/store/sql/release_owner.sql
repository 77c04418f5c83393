UPDATE notification
SET state = 'queued', owner = NULL, lease_until = NULL,
    available_at = :now + CASE WHEN attempt < 4 THEN 0.0 WHEN attempt > 24 THEN 60.0 ELSE 0.1 * attempt * attempt END
WHERE state = 'leased' AND owner = :owner
RETURNING stage
