SELECT key, verb, notification, payload, state, outcome FROM intent WHERE state = :state ORDER BY opened_at LIMIT 1000
