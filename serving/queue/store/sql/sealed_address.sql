SELECT notification.id AS id, notification.address AS sealed
FROM notification JOIN (
    SELECT id AS id, sum(octets) OVER (ORDER BY id) - octets AS octets_before FROM (
        SELECT id, length(address) AS octets FROM notification
        WHERE id > :after AND length(address) > 0 AND substr(address, 1, 4) <> :key
        ORDER BY id LIMIT :count) AS next) AS page ON page.id = notification.id
WHERE page.octets_before < :octets
ORDER BY notification.id
