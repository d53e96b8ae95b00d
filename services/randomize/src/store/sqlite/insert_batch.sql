BEGIN IMMEDIATE;
-- jsonb_each gives the elements in their order, and in a form that is not parsed again for each column;
-- of `->> 0` the path would be made each time.
INSERT INTO histories (created, method, route, data, status)
SELECT value->>'$[0]', value->>'$[1]', value->>'$[2]', value->>'$[3]', value->>'$[4]'
FROM jsonb_each($1);
-- The last one: the connection tells the id of the row that was inserted last.
INSERT INTO randomizes (original, jumbled, created)
SELECT value->>'$[0]', value->>'$[1]', value->>'$[2]'
FROM jsonb_each($2);
COMMIT
