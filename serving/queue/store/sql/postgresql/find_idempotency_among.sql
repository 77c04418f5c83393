SELECT principal, key, message, digest, at
FROM json_array_elements(:keys::json) AS wanted
    JOIN idempotency ON principal = wanted ->> 0 AND key = wanted ->> 1
