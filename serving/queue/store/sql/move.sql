UPDATE notification
SET stage = :stage, state = :state, priority = :priority, available_at = :available_at, facts = :facts,
    reaction = :reaction, attempt = 0, owner = NULL, lease_until = NULL
WHERE id = :id
