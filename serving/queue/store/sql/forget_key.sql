DELETE FROM idempotency WHERE principal = :principal AND key = :key
