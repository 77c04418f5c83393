SELECT detail, next FROM event WHERE notification = :id AND seq = 1
