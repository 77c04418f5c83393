SELECT lookup, address, certificate FROM recipient
WHERE certificate IS NOT NULL AND lookup > :after
ORDER BY lookup
LIMIT :limit
