SELECT id, message, recipient, stage, attempt, priority, facts, reaction, woken FROM notification
WHERE id = :id AND state = 'leased' AND fence = :fence AND owner = :owner
FOR UPDATE
