SELECT key, verb, notification, payload, state, outcome, opened_at FROM intent
WHERE state = :state AND (:is_loose = 0 OR notification IS NULL) AND (opened_at, key) > (:opened_at, :key)
ORDER BY opened_at, key LIMIT 1000
