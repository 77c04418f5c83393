INSERT INTO counted (notification, kind) VALUES (:id, :kind) ON CONFLICT DO NOTHING
