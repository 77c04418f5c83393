SELECT id, json_extract(facts, '$.results') AS sealed FROM notification
WHERE id > :after AND stage IS NOT NULL AND substr(json_extract(facts, '$.results'), 1, 5) <> :start
ORDER BY id LIMIT :count
