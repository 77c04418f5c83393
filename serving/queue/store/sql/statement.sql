SELECT transfer.seq, transfer.at, transfer.key, transfer.notification, transfer.currency, posting.amount
FROM posting JOIN transfer ON transfer.seq = posting.transfer
WHERE posting.account = :account AND transfer.seq < :before
ORDER BY transfer.seq DESC LIMIT :limit
