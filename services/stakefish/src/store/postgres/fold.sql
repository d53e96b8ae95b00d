-- Moves at most $1 deltas into the counts, and returns how many. While another replica is about it,
-- there is nothing to do.
WITH delta AS (
    DELETE FROM domain_deltas
    WHERE id = ANY (ARRAY(
        SELECT id FROM domain_deltas
        WHERE (SELECT pg_try_advisory_xact_lock(hashtext('stakefish: domain_deltas')))
        ORDER BY id
        LIMIT $1
    ))
    RETURNING domain, queries, addresses
), total AS (
    UPDATE domain_totals SET
        queries = domain_totals.queries + delta.queries,
        addresses = domain_totals.addresses + delta.addresses
    FROM (SELECT sum(queries) AS queries, sum(addresses) AS addresses FROM delta) AS delta
    WHERE delta.queries IS NOT NULL
), counted AS (
    INSERT INTO domain_counts (domain, queries, addresses)
    SELECT domain, sum(queries), sum(addresses) FROM delta GROUP BY domain
    ON CONFLICT (domain) DO UPDATE SET
        queries = domain_counts.queries + excluded.queries,
        addresses = domain_counts.addresses + excluded.addresses
)
SELECT count(*) FROM delta
