SELECT facts FROM notification WHERE id = :id AND stage IS NOT NULL
