-- Saves the lookups in $1 under the ids that follow the greatest, and returns the last of them. Nobody else writes
-- meanwhile.
BEGIN IMMEDIATE;

INSERT INTO queries (id, domain, client_ip, created_at)
SELECT (SELECT coalesce(max(id), 0) FROM queries) + 1 + key,
    value ->> '$.domain', value ->> '$.client_ip', value ->> '$.created_at'
FROM jsonb_each($1);

INSERT OR IGNORE INTO addresses (ip)
SELECT address.value
FROM jsonb_each($1) AS item, json_each(item.value, '$.addresses') AS address;

INSERT INTO query_addresses (query_id, ip)
SELECT (SELECT max(id) FROM queries) + 1 - json_array_length($1) + item.key, address.value
FROM jsonb_each($1) AS item, json_each(item.value, '$.addresses') AS address;

INSERT INTO domain_deltas (domain, queries, addresses)
SELECT value ->> '$.domain', count(*), sum(json_array_length(value, '$.addresses'))
FROM jsonb_each($1)
GROUP BY 1;

SELECT max(id) FROM queries;

COMMIT
