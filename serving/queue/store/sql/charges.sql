SELECT key, payload, outcome, closed_at FROM intent
WHERE verb = 'charge' AND state = 'done' AND notification IS NULL
    AND json_extract(payload, '$.wallet') = :wallet
ORDER BY closed_at DESC LIMIT 100
