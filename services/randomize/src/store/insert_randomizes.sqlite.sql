INSERT INTO randomizes (original, jumbled, created)
SELECT value->>0, value->>1, value->>2 FROM json_each($1) ORDER BY key
RETURNING id
