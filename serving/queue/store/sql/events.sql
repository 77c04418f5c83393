SELECT seq, at, stage, kind, next, detail FROM event WHERE notification = :id ORDER BY seq
