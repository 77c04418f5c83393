SELECT principal.id, principal.name, credential.kind, credential.name AS credential,
    coalesce(credential.created_at, principal.created_at) AS created_at, used_at, expires_at, revoked_at
FROM principal LEFT JOIN credential ON credential.principal = principal.id
ORDER BY principal.created_at, principal.id, created_at, credential.name
