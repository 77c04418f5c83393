SELECT lookup FROM recipient WHERE certificate IS NOT NULL AND lookup > :after ORDER BY lookup LIMIT :limit
