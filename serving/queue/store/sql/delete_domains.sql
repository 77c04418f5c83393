DELETE FROM domain WHERE principal = :principal
