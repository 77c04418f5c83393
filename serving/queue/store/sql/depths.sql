SELECT stage, state, count(*) AS count, min(available_at) AS oldest FROM notification GROUP BY stage, state
