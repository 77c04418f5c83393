SELECT lookup AS id, substring(wishes FROM '"lists": ?"([0-9a-f]+)"') AS sealed FROM recipient
WHERE lookup > :after AND length(substring(wishes FROM '"lists": ?"([0-9a-f]+)"')) > 72
    AND substr(substring(wishes FROM '"lists": ?"([0-9a-f]+)"'), 1, 8) <> :key
ORDER BY lookup LIMIT :count
