DELETE FROM suppression WHERE lookup IN (
    SELECT lookup FROM suppression WHERE until < :before ORDER BY until LIMIT :count)
