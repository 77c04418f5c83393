SELECT principal.id, principal.name, policy, revoked_at, expires_at, credential.name AS credential
FROM credential JOIN principal ON principal.id = credential.principal
WHERE credential.kind = :kind AND credential.name = :name
