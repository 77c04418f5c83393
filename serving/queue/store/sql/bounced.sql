SELECT recipient, facts FROM notification WHERE id = :id
/* postgresql: FOR UPDATE */
