BEGIN IMMEDIATE;
-- json_each gives the elements in their order.
INSERT INTO randomizes (original, jumbled, created)
SELECT value->>0, value->>1, value->>2 FROM json_each($1);
-- Nobody else writes meanwhile, so their ids are this one and those before it.
SELECT last_insert_rowid();
INSERT INTO histories (created, method, route, data, status)
SELECT value->>0, value->>1, value->>2, value->>3, value->>4 FROM json_each($2);
COMMIT
