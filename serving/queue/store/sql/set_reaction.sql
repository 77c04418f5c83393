UPDATE notification SET reaction = :reaction WHERE id = :id
