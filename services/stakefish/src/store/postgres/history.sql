-- Reads at most $2 queries with ids below $1 as one JSON array, in which their addresses are arrays.
SELECT coalesce(
    jsonb_agg(jsonb_build_array(
        id, domain, host(client_ip), created_at, coalesce(addresses, '[]'::jsonb)
    )),
    '[]'::jsonb
)
FROM (
    SELECT id, domain, client_ip, created_at,
        (SELECT jsonb_agg(host(ip)) FROM query_addresses WHERE query_id = queries.id) AS addresses
    FROM queries
    WHERE id < $1
    ORDER BY id DESC
    LIMIT $2
) AS page
