UPDATE notification SET woken = 1 WHERE recipient = :lookup AND stage = :stage AND state = 'leased'
