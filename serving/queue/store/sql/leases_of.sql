SELECT id, fence FROM notification WHERE state = 'leased' AND owner = :owner AND stage = :stage
