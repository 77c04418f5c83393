INSERT OR IGNORE INTO account (name, currency, balance) VALUES (:account, :currency, 0)
