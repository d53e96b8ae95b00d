INSERT INTO randomizes (original, jumbled, created)
SELECT value->>0, value->>1, (value->>2)::timestamptz
FROM jsonb_array_elements($1::text::jsonb) WITH ORDINALITY AS batch (value, place) ORDER BY place
RETURNING id
