UPDATE recipient SET certificate = :sealed
WHERE lookup = :id AND substr(certificate, 1, 36) = :head AND length(certificate) = length(:sealed)
