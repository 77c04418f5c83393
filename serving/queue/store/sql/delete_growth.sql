DELETE FROM growth WHERE message IN (SELECT value FROM json_each(:messages))
