SELECT name AS account, balance, currency FROM account WHERE name = :account
FOR UPDATE
