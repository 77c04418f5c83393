SELECT lookup, reason, at, until FROM suppression
WHERE lookup > :after AND (until IS NULL OR until > :now)
ORDER BY lookup LIMIT :limit
