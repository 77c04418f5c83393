DELETE FROM webhook WHERE id IN (
    SELECT id FROM webhook WHERE id < :before AND state <> 'waiting' ORDER BY id LIMIT :count)
