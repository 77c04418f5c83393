SELECT principal FROM message WHERE id = (SELECT message FROM notification WHERE id = :id)
