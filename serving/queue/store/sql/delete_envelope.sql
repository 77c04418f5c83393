DELETE FROM envelope WHERE notification IN (SELECT json_extract(value, '$.id') FROM json_each(:rows))
