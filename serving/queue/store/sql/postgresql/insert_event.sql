INSERT INTO event (notification, seq, at, stage, kind, next, detail)
SELECT id, (SELECT coalesce(max(seq), 0) FROM event WHERE notification = id) + nth, :now, stage, kind, next, detail
FROM json_to_recordset(:rows::json) AS added (id bigint, nth bigint, stage text, kind text, next text, detail text)
