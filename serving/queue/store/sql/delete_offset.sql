DELETE FROM personal_offset WHERE recipient = :recipient
