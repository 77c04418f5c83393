INSERT INTO notification (id, message, ordinal, recipient, address, stage, state, priority, available_at, facts, accepted_at)
VALUES (:id, :message, :ordinal, :recipient, :address, :stage, 'queued', :priority, :now, :facts, :now)
