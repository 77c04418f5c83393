UPDATE account SET balance = balance + :amount WHERE name = :account RETURNING balance, currency
