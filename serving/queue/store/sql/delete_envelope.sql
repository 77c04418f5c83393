DELETE FROM envelope WHERE notification = :id
