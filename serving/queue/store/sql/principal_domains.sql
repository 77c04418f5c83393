SELECT name FROM domain WHERE principal = :id ORDER BY name
