INSERT OR IGNORE INTO counted (notification, kind) VALUES (:id, :kind)
