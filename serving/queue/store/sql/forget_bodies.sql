UPDATE message SET body = x'' WHERE id IN (
    SELECT id FROM message
    WHERE id < :before AND body <> x''
        AND NOT EXISTS (SELECT 1 FROM notification WHERE notification.message = message.id AND stage IS NOT NULL)
    ORDER BY id LIMIT :count)
RETURNING id
