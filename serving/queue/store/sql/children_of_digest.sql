SELECT id FROM notification WHERE via = :via AND state = 'deferred'
