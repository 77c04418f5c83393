SELECT detail FROM event WHERE notification = :id AND kind = 'reported'
