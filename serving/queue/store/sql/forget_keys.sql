DELETE FROM idempotency WHERE (principal, key) IN (
    SELECT principal, key FROM idempotency WHERE at < :before ORDER BY at LIMIT :count)
