SELECT message.id AS id, message.body AS sealed
FROM message JOIN (
    SELECT id AS id, sum(octets) OVER (ORDER BY id) - octets AS octets_before FROM (
        SELECT id, length(body) AS octets FROM message
        WHERE id > :after AND length(body) > 0 AND substr(body, 1, 4) <> :key
        ORDER BY id LIMIT :count) AS next) AS page ON page.id = message.id
WHERE page.octets_before < :octets
ORDER BY message.id
