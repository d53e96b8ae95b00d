SELECT id, created, method, route, data, status FROM histories
WHERE id < $1 ORDER BY id DESC LIMIT $2
