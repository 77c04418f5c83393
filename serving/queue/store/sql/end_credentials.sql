UPDATE credential SET expires_at = :now
WHERE principal = :principal AND (expires_at IS NULL OR expires_at > :now)
