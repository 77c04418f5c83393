SELECT id, recipient, facts FROM notification
WHERE id = :id AND recipient = :recipient AND via IS NULL AND stage = :stage AND state IN ('deferred', 'queued', 'leased')
    AND available_at <= :now
/* postgresql: FOR UPDATE */
