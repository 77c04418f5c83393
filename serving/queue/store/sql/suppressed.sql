SELECT reason, at, until FROM suppression WHERE lookup = :lookup AND (until IS NULL OR until > :now)
