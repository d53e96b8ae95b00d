-- Reads the $1 names with the most queries, and what all others have together. The limit is a sum, because SQLite
-- prepares a statement anew for each value of a parameter that is the limit itself.
WITH top AS (
    SELECT domain, queries, addresses FROM domain_counts ORDER BY queries DESC, domain LIMIT 0 + $1
)
SELECT domain, queries, addresses FROM top
UNION ALL
SELECT
    '(other)',
    queries - CAST((SELECT coalesce(sum(queries), 0) FROM top) AS bigint),
    addresses - CAST((SELECT coalesce(sum(addresses), 0) FROM top) AS bigint)
FROM domain_totals
