SELECT body FROM envelope WHERE notification = :id
