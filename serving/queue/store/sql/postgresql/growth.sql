SELECT key, count, at, link FROM growth WHERE message = :message ORDER BY position
