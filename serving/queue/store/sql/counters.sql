WITH RECURSIVE nth(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM nth WHERE n + 1 < :count)
SELECT counter.key, counter.count, counter.last, counter.link
FROM nth CROSS JOIN counter
WHERE counter.key = substr(:keys, 32 * n + 1, 32)
