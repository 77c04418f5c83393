INSERT INTO personal_offset (recipient, log_odds) VALUES (:recipient, greatest(-:limit, least(:limit, :step)))
ON CONFLICT (recipient) DO UPDATE SET log_odds = greatest(-:limit, least(:limit, personal_offset.log_odds + :step))
