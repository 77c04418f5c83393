SELECT message, digest FROM idempotency WHERE principal = :principal AND key = :key
