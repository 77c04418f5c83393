SELECT name AS account, balance, currency FROM account WHERE name = :account
/* postgresql: FOR UPDATE */
