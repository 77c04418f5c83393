SELECT detail FROM event WHERE notification = :id AND seq = 1
