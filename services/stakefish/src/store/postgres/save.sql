-- Saves the lookups in $1 and returns their ids in the same order. Addresses are inserted in their
-- order, so that of two replicas one can wait for the other, but never both.
WITH item AS MATERIALIZED (
    SELECT nextval('queries_id_seq') AS id, *
    FROM ROWS FROM (
        jsonb_to_recordset($1)
            AS (domain text, client_ip inet, created_at timestamptz, addresses inet[])
    ) WITH ORDINALITY
), address AS MATERIALIZED (
    SELECT item.id, ip FROM item, unnest(addresses) AS ip
), saved AS (
    INSERT INTO queries (id, domain, client_ip, created_at)
    SELECT id, domain, client_ip, created_at FROM item
), known AS (
    INSERT INTO addresses (ip)
    SELECT DISTINCT ip FROM address ORDER BY ip
    ON CONFLICT DO NOTHING
), linked AS (
    INSERT INTO query_addresses (query_id, ip)
    SELECT id, ip FROM address
), counted AS (
    INSERT INTO domain_deltas (domain, queries, addresses)
    SELECT domain, count(*), sum(cardinality(addresses)) FROM item GROUP BY domain
)
SELECT id FROM item ORDER BY ordinality
