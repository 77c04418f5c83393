INSERT INTO reaction (notification, kind, at) VALUES (:id, :kind, :at) ON CONFLICT DO NOTHING
