SELECT lookup, address, certificate, wishes, policy FROM recipient WHERE lookup = :lookup
