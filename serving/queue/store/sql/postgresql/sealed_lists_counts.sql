SELECT substr(substring(wishes FROM '"lists": ?"([0-9a-f]+)"'), 1, 8) AS key, count(*) AS count FROM recipient
WHERE length(substring(wishes FROM '"lists": ?"([0-9a-f]+)"')) > 72 GROUP BY 1
