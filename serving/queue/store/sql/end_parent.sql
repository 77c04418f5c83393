UPDATE notification SET state = :state, stage = NULL WHERE id = :id
