SELECT substr(json_extract(wishes, '$.lists'), 1, 8) AS key, count(*) AS count FROM recipient
WHERE length(json_extract(wishes, '$.lists')) > 72 GROUP BY 1
