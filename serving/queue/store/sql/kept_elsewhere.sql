SELECT name FROM account
WHERE substr(name, 1, 9) = 'clearing:' AND name <> :clearing AND name <> :door AND balance < 0
LIMIT 1
