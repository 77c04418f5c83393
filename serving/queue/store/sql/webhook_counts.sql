SELECT state, count(*) AS count FROM webhook WHERE principal = :principal GROUP BY state
