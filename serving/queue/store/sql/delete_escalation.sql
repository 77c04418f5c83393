DELETE FROM escalation WHERE lookup = :lookup
