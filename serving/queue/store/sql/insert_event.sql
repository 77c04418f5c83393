INSERT INTO event (notification, seq, at, stage, kind, next, detail)
SELECT json_extract(value, '$.id'),
    (SELECT coalesce(max(seq), 0) FROM event WHERE notification = json_extract(value, '$.id')) + json_extract(value, '$.nth'),
    :now, json_extract(value, '$.stage'), json_extract(value, '$.kind'), json_extract(value, '$.next'),
    json_extract(value, '$.detail')
FROM json_each(:rows)
