SELECT key, count, last, link FROM counter WHERE key = :key
