INSERT INTO event (notification, seq, at, stage, kind, next, detail)
VALUES (:id, (SELECT coalesce(max(seq), 0) + 1 FROM event WHERE notification = :id), :now, :stage, :kind, :next, :detail)
