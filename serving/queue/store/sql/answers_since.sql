SELECT count(*) AS count FROM event WHERE notification = :id AND kind = 'answered' AND at > :since
