SELECT idempotency.principal, idempotency.key, idempotency.message, idempotency.digest, idempotency.at
FROM json_each(:keys) AS wanted
    CROSS JOIN idempotency ON idempotency.principal = json_extract(wanted.value, '$[0]')
        AND idempotency.key = json_extract(wanted.value, '$[1]')
