SELECT message, digest, at FROM idempotency WHERE principal = :principal AND key = :key
