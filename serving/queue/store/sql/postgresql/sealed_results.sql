SELECT id, substring(facts FROM '"results":"([^"]*)"') AS sealed FROM notification
WHERE id > :after AND stage IS NOT NULL AND substr(substring(facts FROM '"results":"([^"]*)"'), 1, 5) <> :start
ORDER BY id LIMIT :count
