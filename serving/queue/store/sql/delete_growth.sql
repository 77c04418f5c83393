DELETE FROM growth WHERE message = :message
