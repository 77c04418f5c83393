SELECT id, name, policy, revoked_at FROM principal WHERE id = :id
