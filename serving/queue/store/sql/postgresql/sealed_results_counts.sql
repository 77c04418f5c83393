SELECT substr(substring(facts FROM '"results":"([^"]*)"'), 1, 6) AS start, count(*) AS count FROM notification
WHERE stage IS NOT NULL AND facts ~ '"results":"' GROUP BY 1
