SELECT reaction, recipient FROM notification WHERE id = :id
/* postgresql: FOR UPDATE */
