SELECT transfer.key, transfer.at, transfer.currency, posting.account, posting.amount
FROM transfer JOIN posting ON posting.transfer = transfer.seq
WHERE transfer.notification = :id ORDER BY transfer.seq, posting.account
