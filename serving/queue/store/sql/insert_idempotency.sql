INSERT INTO idempotency (principal, key, digest, message, at) VALUES (:principal, :key, :digest, :message, :now)
