SELECT principal FROM message WHERE id = :id
