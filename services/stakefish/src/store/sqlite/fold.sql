-- Moves at most $1 deltas into the counts. The limit is a sum, because SQLite prepares a statement anew for each value
-- of a parameter that is the limit itself.
UPDATE domain_totals SET
    queries = domain_totals.queries + delta.queries,
    addresses = domain_totals.addresses + delta.addresses
FROM (
    SELECT sum(queries) AS queries, sum(addresses) AS addresses
    FROM (SELECT queries, addresses FROM domain_deltas ORDER BY id LIMIT 0 + $1)
) AS delta
WHERE delta.queries IS NOT NULL;

INSERT INTO domain_counts (domain, queries, addresses)
SELECT domain, sum(queries), sum(addresses)
FROM (SELECT domain, queries, addresses FROM domain_deltas ORDER BY id LIMIT 0 + $1)
WHERE true
GROUP BY domain
ON CONFLICT (domain) DO UPDATE SET
    queries = domain_counts.queries + excluded.queries,
    addresses = domain_counts.addresses + excluded.addresses;

DELETE FROM domain_deltas WHERE id IN (SELECT id FROM domain_deltas ORDER BY id LIMIT 0 + $1);
