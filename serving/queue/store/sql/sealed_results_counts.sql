SELECT substr(json_extract(facts, '$.results'), 1, 6) AS start, count(*) AS count FROM notification
WHERE stage IS NOT NULL AND json_extract(facts, '$.results') IS NOT NULL GROUP BY 1
