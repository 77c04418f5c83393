SELECT coalesce(sum(balance), 0) AS amount FROM account
WHERE (substr(name, 1, 7) = 'wallet:' OR substr(name, 1, 5) = 'hold:') AND currency <> 'FREE'
