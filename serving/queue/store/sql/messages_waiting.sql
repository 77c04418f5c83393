SELECT DISTINCT message FROM notification
WHERE message IN (SELECT value FROM json_each(:messages)) AND stage IN (SELECT value FROM json_each(:stages))
