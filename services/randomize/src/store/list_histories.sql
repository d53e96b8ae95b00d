-- A sum, because SQLite prepares a statement anew for each value of a parameter that is the limit itself.
SELECT id, created, method, route, data, status FROM histories
WHERE id < $1 ORDER BY id DESC LIMIT 0 + $2
