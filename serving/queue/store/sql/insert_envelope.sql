INSERT INTO envelope (notification, body) VALUES (:id, :body)
ON CONFLICT (notification) DO UPDATE SET body = excluded.body
