INSERT OR IGNORE INTO reaction (notification, kind, at) VALUES (:id, :kind, :at)
