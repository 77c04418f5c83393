INSERT INTO counter (key, count, last, link)
SELECT substring(:keys::bytea FROM (32 * nth - 31)::integer FOR 32), (value ->> 0)::bigint, (value ->> 1)::float8,
    (value ->> 2)::bigint
FROM json_array_elements(:rows::json) WITH ORDINALITY AS each (value, nth)
ON CONFLICT (key) DO UPDATE SET
    count = counter.count + excluded.count,
    last = CASE WHEN counter.last < excluded.last THEN excluded.last ELSE counter.last END,
    link = CASE WHEN counter.link = 0 THEN excluded.link ELSE counter.link END
