SELECT transfer.seq, transfer.key, transfer.notification, transfer.currency, transfer.at, transfer.hash,
    posting.account, posting.amount
FROM transfer LEFT JOIN posting ON posting.transfer = transfer.seq
ORDER BY transfer.seq, posting.account
