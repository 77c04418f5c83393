SELECT recipient, facts FROM notification WHERE id = :id
FOR UPDATE
