INSERT INTO principal (id, name, key_hash, policy, created_at) VALUES (:id, :name, :key_hash, :policy, :now)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, key_hash = excluded.key_hash, policy = excluded.policy
