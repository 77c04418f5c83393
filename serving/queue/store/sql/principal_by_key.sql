SELECT id, name, policy, revoked_at FROM principal WHERE key_hash = :key_hash
