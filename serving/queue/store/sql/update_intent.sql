UPDATE intent SET payload = :payload WHERE key = :key AND state = 'open'
