-- Reads the $1 names with the most queries, and what all others have together.
WITH top AS (
    SELECT domain, queries, addresses FROM domain_counts ORDER BY queries DESC, domain LIMIT $1
)
SELECT domain, queries, addresses FROM top
UNION ALL
SELECT
    '(other)',
    queries - CAST((SELECT coalesce(sum(queries), 0) FROM top) AS bigint),
    addresses - CAST((SELECT coalesce(sum(addresses), 0) FROM top) AS bigint)
FROM domain_totals
