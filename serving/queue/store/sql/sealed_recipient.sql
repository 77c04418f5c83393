SELECT recipient.lookup AS id, recipient.address AS sealed
FROM recipient JOIN (
    SELECT lookup AS id, sum(octets) OVER (ORDER BY lookup) - octets AS octets_before FROM (
        SELECT lookup, length(address) AS octets FROM recipient
        WHERE lookup > :after AND length(address) > 0 AND substr(address, 1, 4) <> :key
        ORDER BY lookup LIMIT :count) AS next) AS page ON page.id = recipient.lookup
WHERE page.octets_before < :octets
ORDER BY recipient.lookup
