SELECT id FROM message WHERE id = :message FOR UPDATE
