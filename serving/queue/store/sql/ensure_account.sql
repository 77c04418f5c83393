INSERT INTO account (name, currency, balance) VALUES (:account, :currency, 0) ON CONFLICT DO NOTHING
