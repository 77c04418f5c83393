SELECT name AS account, balance, currency FROM account ORDER BY name
