UPDATE notification SET woken = 1
WHERE stage = :stage AND state = 'leased'
    AND (SELECT principal FROM message WHERE message.id = notification.message) = :principal
