UPDATE webhook SET state = 'waiting', attempt = 0, available_at = :now
WHERE principal = :principal AND (notification = :notification OR (:notification = 0 AND id >= :since))
    AND state <> 'waiting'
