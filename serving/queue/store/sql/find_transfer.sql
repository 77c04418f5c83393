SELECT seq FROM transfer WHERE key = :key
