UPDATE notification SET address = :sealed
WHERE id = :id AND substr(address, 1, 36) = :head AND length(address) = length(:sealed)
