SELECT coalesce(sum(balance), 0) AS amount FROM account
WHERE currency <> 'FREE' AND (
    substr(name, 1, 7) = 'wallet:' OR substr(name, 1, 5) IN ('hold:', 'card:') OR name IN ('advances', 'clearing:x402')
)
