UPDATE bounce SET is_told = 1 WHERE notification = :id AND action = :action AND is_told = 0
