INSERT INTO intent (key, verb, notification, payload, state, opened_at) VALUES (:key, :verb, :notification, :payload, 'open', :now)
