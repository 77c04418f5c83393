INSERT INTO counter (key, count, last, link) VALUES (:key, :count, :at, :link)
ON CONFLICT (key) DO UPDATE SET
    count = count + excluded.count,
    last = max(last, excluded.last),
    link = CASE WHEN link = 0 THEN excluded.link ELSE link END
