UPDATE intent SET notification = NULL WHERE notification = :notification AND state = 'open' RETURNING key
