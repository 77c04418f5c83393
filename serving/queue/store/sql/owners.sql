SELECT DISTINCT owner FROM notification WHERE state = 'leased'
