INSERT INTO message (id, principal, body, accepted_at) VALUES (:id, :principal, :body, :now)
