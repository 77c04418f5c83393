INSERT INTO bounce (notification, action, reply, at, is_told) VALUES (:id, :action, :reply, :now, :is_told)
ON CONFLICT DO NOTHING
