SELECT id, facts::json ->> 'results' AS sealed FROM notification
WHERE id > :after AND stage IS NOT NULL AND substr(facts::json ->> 'results', 1, 5) <> :start
ORDER BY id LIMIT :count
