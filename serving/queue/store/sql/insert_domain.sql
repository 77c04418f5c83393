INSERT OR IGNORE INTO domain (name, principal) VALUES (:domain, :principal)
