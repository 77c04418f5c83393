UPDATE recipient SET wishes = :wishes WHERE lookup = :lookup AND wishes = :before
