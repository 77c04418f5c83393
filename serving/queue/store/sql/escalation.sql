SELECT chain FROM escalation WHERE lookup = :lookup
