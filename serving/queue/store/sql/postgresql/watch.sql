SELECT id, stage, facts FROM notification WHERE id = :id
FOR UPDATE
