SELECT body, principal FROM message WHERE id = :id
