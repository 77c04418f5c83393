SELECT key, payload, outcome, closed_at FROM intent
WHERE verb = 'charge' AND state = 'done' AND notification IS NULL AND payload::json ->> 'wallet' = :wallet
ORDER BY closed_at DESC LIMIT 100
