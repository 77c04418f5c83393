SELECT id, notification, principal, event, reason, at, state, attempt, available_at, reply FROM webhook
WHERE principal = :principal AND id < :before AND (:state = '' OR state = :state)
ORDER BY id DESC LIMIT :limit
