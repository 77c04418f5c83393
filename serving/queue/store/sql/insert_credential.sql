INSERT INTO credential (kind, name, principal, created_at) VALUES (:kind, :name, :principal, :now)
ON CONFLICT (kind, name) DO UPDATE SET principal = excluded.principal, created_at = excluded.created_at,
    expires_at = NULL, used_at = NULL
WHERE credential.expires_at <= :now
RETURNING name
