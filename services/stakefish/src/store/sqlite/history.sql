-- Reads at most $2 queries with ids below $1, newest first, with their addresses as a JSON array.
SELECT id, domain, client_ip, created_at,
    (SELECT json_group_array(ip) FROM query_addresses WHERE query_id = queries.id)
FROM queries
WHERE id < $1
ORDER BY id DESC
LIMIT $2
