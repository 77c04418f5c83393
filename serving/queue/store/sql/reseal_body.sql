UPDATE message SET body = :sealed
WHERE id = :id AND substr(body, 1, 36) = :head AND length(body) = length(:sealed)
