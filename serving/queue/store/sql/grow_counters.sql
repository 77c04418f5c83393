INSERT INTO counter (key, count, last, link)
SELECT substr(:keys, 32 * each.key + 1, 32), json_extract(each.value, '$[0]'), json_extract(each.value, '$[1]'),
    json_extract(each.value, '$[2]')
FROM json_each(:rows) AS each
WHERE true
ON CONFLICT (key) DO UPDATE SET
    count = counter.count + excluded.count,
    last = CASE WHEN counter.last < excluded.last THEN excluded.last ELSE counter.last END,
    link = CASE WHEN counter.link = 0 THEN excluded.link ELSE counter.link END
