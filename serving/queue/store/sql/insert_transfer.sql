INSERT INTO transfer (seq, key, notification, currency, at, hash) VALUES (:seq, :key, :notification, :currency, :now, :hash)
