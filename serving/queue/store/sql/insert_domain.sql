INSERT INTO domain (name, principal) VALUES (:domain, :principal) ON CONFLICT DO NOTHING
