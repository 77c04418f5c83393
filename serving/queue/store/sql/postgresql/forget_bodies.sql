UPDATE message SET body = '' WHERE id IN (
    SELECT id FROM message
    WHERE id < :before AND body <> ''
        AND NOT EXISTS (SELECT 1 FROM notification WHERE notification.message = message.id AND stage IS NOT NULL)
    ORDER BY id LIMIT :count)
RETURNING id
