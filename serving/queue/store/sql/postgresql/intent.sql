SELECT key, verb, notification, payload, state, outcome FROM intent WHERE key = :key
FOR UPDATE
