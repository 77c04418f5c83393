SELECT id, stage, facts FROM notification WHERE id = :id
/* postgresql: FOR UPDATE */
