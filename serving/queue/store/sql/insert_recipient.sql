INSERT INTO recipient (lookup, address, certificate, wishes, policy) VALUES (:lookup, :address, :certificate, :wishes, :policy)
ON CONFLICT (lookup) DO UPDATE SET
    address = excluded.address, certificate = excluded.certificate, wishes = excluded.wishes, policy = excluded.policy
