SELECT escalation.lookup AS id, escalation.chain AS sealed
FROM escalation JOIN (
    SELECT lookup AS id, sum(octets) OVER (ORDER BY lookup) - octets AS octets_before FROM (
        SELECT lookup, length(chain) AS octets FROM escalation
        WHERE lookup > :after AND length(chain) > 0 AND substr(chain, 1, 4) <> :key
        ORDER BY lookup LIMIT :count) AS next) AS page ON page.id = escalation.lookup
WHERE page.octets_before < :octets
ORDER BY escalation.lookup
