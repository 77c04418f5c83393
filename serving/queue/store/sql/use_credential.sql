UPDATE credential SET used_at = :at WHERE kind = :kind AND name = :name AND (used_at IS NULL OR used_at < :at)
