SELECT message, key, count, at, link FROM growth WHERE message IN (SELECT value FROM json_each(:messages)) ORDER BY rowid
