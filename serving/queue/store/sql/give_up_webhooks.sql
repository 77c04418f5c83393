UPDATE webhook SET state = 'given_up', reply = :reply WHERE principal = :principal AND state = 'waiting'
