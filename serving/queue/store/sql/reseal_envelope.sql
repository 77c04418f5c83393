UPDATE envelope SET body = :sealed
WHERE notification = :id AND substr(body, 1, 36) = :head AND length(body) = length(:sealed)
