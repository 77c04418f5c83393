UPDATE intent SET state = :state, outcome = :outcome, closed_at = :now WHERE key = :key
