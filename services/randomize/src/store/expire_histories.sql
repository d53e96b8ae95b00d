-- Looks at no more rows than it may remove: the oldest have the lowest ids.
DELETE FROM histories WHERE id IN (
    SELECT id FROM (SELECT id, created FROM histories ORDER BY id LIMIT 1000) AS oldest
    WHERE created < $1
)
