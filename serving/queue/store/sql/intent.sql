SELECT key, verb, notification, payload, state, outcome FROM intent WHERE key = :key
/* postgresql: FOR UPDATE */
