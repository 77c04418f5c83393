INSERT INTO growth (message, key, count, at, link) VALUES (:message, :key, :count, :at, :link)
