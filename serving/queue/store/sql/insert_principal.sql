INSERT INTO principal (id, name, policy, created_at) VALUES (:id, :name, :policy, :now)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, policy = excluded.policy
