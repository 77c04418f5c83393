SELECT seq, hash FROM transfer ORDER BY seq DESC LIMIT 1
