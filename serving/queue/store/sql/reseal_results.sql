UPDATE notification SET facts = :facts WHERE id = :id AND facts = :before
