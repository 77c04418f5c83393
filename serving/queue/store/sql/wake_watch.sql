UPDATE notification SET woken = 1 WHERE id = :id AND state = 'leased'
