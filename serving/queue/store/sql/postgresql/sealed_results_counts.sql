SELECT substr(facts::json ->> 'results', 1, 6) AS start, count(*) AS count FROM notification
WHERE stage IS NOT NULL AND facts::json ->> 'results' IS NOT NULL GROUP BY 1
