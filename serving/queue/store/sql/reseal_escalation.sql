UPDATE escalation SET chain = :sealed
WHERE lookup = :id AND substr(chain, 1, 36) = :head AND length(chain) = length(:sealed)
