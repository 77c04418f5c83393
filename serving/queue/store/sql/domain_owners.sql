SELECT principal FROM domain JOIN principal ON principal.id = domain.principal
WHERE domain.name = :domain AND principal.revoked_at IS NULL ORDER BY principal
