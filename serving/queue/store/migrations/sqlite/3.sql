-- From schema 2 to 3: what a reaction adds to is named with the time until which it does. The counters that notifications
-- of schema 2 named (six each, of 32 octets) were without an end: infinity, as a little-endian double.
UPDATE notification
SET reaction = CAST(
    substr(reaction, 1, 32) || x'000000000000f07f' || substr(reaction, 33, 32) || x'000000000000f07f'
    || substr(reaction, 65, 32) || x'000000000000f07f' || substr(reaction, 97, 32) || x'000000000000f07f'
    || substr(reaction, 129, 32) || x'000000000000f07f' || substr(reaction, 161, 32) || x'000000000000f07f'
    AS BLOB)
WHERE length(reaction) = 192;
