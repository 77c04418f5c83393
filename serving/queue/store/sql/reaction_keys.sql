SELECT reaction FROM notification WHERE id = :id
