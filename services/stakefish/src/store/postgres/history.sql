-- Reads at most $2 queries with ids below $1, newest first, with their addresses as a JSON array.
SELECT id, domain, host(client_ip), created_at,
    (SELECT jsonb_agg(host(ip)) FROM query_addresses WHERE query_id = queries.id)
FROM queries
WHERE id < $1
ORDER BY id DESC
LIMIT $2
