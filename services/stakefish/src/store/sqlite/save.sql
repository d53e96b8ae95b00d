-- Saves the lookups in $1 under the ids that follow $2. Nobody else writes meanwhile.
INSERT INTO queries (id, domain, client_ip, created_at)
SELECT $2 + 1 + key, value ->> 'domain', value ->> 'client_ip', value ->> 'created_at'
FROM json_each($1);

INSERT OR IGNORE INTO addresses (ip)
SELECT address.value
FROM json_each($1) AS item, json_each(item.value, '$.addresses') AS address;

INSERT INTO query_addresses (query_id, ip)
SELECT $2 + 1 + item.key, address.value
FROM json_each($1) AS item, json_each(item.value, '$.addresses') AS address;

INSERT INTO domain_deltas (domain, queries, addresses)
SELECT value ->> 'domain', count(*), sum(json_array_length(value, '$.addresses'))
FROM json_each($1)
GROUP BY 1;
