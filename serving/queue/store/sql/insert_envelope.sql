INSERT OR REPLACE INTO envelope (notification, body) VALUES (:id, :body)
