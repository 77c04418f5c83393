SELECT id, message, recipient, stage, attempt, priority, facts, reaction, woken FROM notification
WHERE id = :id AND state IN ('queued', 'deferred', 'parked') AND via IS NULL
FOR UPDATE
