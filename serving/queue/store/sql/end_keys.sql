UPDATE credential SET expires_at = :until
WHERE principal = :principal AND kind = 'key' AND (expires_at IS NULL OR expires_at > :until)
    AND EXISTS (SELECT 1 FROM principal WHERE principal.id = :principal AND revoked_at IS NULL)
RETURNING name
