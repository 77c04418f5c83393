SELECT reaction, recipient FROM notification WHERE id = :id
FOR UPDATE
