SELECT envelope.notification AS id, envelope.body AS sealed
FROM envelope JOIN (
    SELECT notification AS id, sum(octets) OVER (ORDER BY notification) - octets AS octets_before FROM (
        SELECT notification, length(body) AS octets FROM envelope
        WHERE notification > :after AND length(body) > 0 AND substr(body, 1, 4) <> :key
        ORDER BY notification LIMIT :count) AS next) AS page ON page.id = envelope.notification
WHERE page.octets_before < :octets
ORDER BY envelope.notification
