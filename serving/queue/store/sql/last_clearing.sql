SELECT account AS name FROM posting
WHERE substr(account, 1, 9) = 'clearing:' AND account <> 'clearing:x402'
ORDER BY transfer DESC LIMIT 1
