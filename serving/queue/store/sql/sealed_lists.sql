SELECT lookup AS id, json_extract(wishes, '$.lists') AS sealed FROM recipient
WHERE lookup > :after AND length(json_extract(wishes, '$.lists')) > 72 AND substr(json_extract(wishes, '$.lists'), 1, 8) <> :key
ORDER BY lookup LIMIT :count
