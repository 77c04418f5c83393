INSERT INTO personal_offset (recipient, log_odds) VALUES (:recipient, max(-:limit, min(:limit, :step)))
ON CONFLICT (recipient) DO UPDATE SET log_odds = max(-:limit, min(:limit, log_odds + :step))
