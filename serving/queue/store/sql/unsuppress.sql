DELETE FROM suppression WHERE lookup = :lookup
