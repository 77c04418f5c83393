SELECT currency FROM account WHERE currency <> :currency AND currency <> 'FREE' LIMIT 1
