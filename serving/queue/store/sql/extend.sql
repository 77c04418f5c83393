UPDATE notification SET lease_until = :until WHERE id = :id
