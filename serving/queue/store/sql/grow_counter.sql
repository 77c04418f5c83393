INSERT INTO counter (key, count, last, link) VALUES (:key, :count, :at, :link)
ON CONFLICT (key) DO UPDATE SET
    count = counter.count + excluded.count,
    last = CASE WHEN counter.last < excluded.last THEN excluded.last ELSE counter.last END,
    link = CASE WHEN counter.link = 0 THEN excluded.link ELSE counter.link END
