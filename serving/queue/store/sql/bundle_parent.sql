UPDATE notification
SET state = 'deferred', via = :via, available_at = NULL, owner = NULL, lease_until = NULL, fence = fence + 1, facts = :facts
WHERE id = :id
