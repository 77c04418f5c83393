INSERT INTO suppression (lookup, reason, at, until) VALUES (:lookup, :reason, :now, :until)
ON CONFLICT (lookup) DO UPDATE SET reason = excluded.reason, at = excluded.at, until = excluded.until
WHERE suppression.until IS NOT NULL
