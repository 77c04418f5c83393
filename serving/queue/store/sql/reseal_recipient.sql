UPDATE recipient SET address = :sealed
WHERE lookup = :id AND substr(address, 1, 36) = :head AND length(address) = length(:sealed)
