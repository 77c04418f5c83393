SELECT id, message, ordinal, accepted_at, facts FROM notification
WHERE recipient = :recipient AND stage = :stage AND via IS NULL
    AND ((state IN ('deferred', 'queued') AND available_at <= :now) OR state = 'leased' OR id = :including)
ORDER BY accepted_at, id LIMIT :limit
