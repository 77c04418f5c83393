SELECT lookup, address, certificate, wishes, policy,
    EXISTS (SELECT 1 FROM escalation WHERE escalation.lookup = recipient.lookup) AS escalates
FROM recipient WHERE lookup = :lookup
