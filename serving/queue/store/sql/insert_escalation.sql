INSERT INTO escalation (lookup, chain) VALUES (:lookup, :chain)
ON CONFLICT (lookup) DO UPDATE SET chain = excluded.chain
