INSERT INTO posting (transfer, account, amount) VALUES (:transfer, :account, :amount)
