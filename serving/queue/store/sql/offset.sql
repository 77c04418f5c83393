SELECT log_odds FROM personal_offset WHERE recipient = :recipient
