-- Reads at most $2 queries with ids below $1 as one JSON array, in which their addresses are arrays. Each row would be
-- a change of thread and back. The limit is a sum, because SQLite prepares a statement anew for each value of a parameter
-- that is the limit itself.
SELECT json_group_array(json_array(id, domain, client_ip, created_at, json(addresses)))
FROM (
    SELECT id, domain, client_ip, created_at,
        (SELECT json_group_array(ip) FROM query_addresses WHERE query_id = queries.id) AS addresses
    FROM queries
    WHERE id < $1
    ORDER BY id DESC
    LIMIT 0 + $2
)
