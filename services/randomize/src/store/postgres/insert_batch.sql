WITH words AS (
    INSERT INTO randomizes (original, jumbled, created)
    SELECT value->>0, value->>1, (value->>2)::timestamptz
    FROM jsonb_array_elements($1::text::jsonb) WITH ORDINALITY AS batch (value, place)
    ORDER BY place
    RETURNING id
), requests AS (
    INSERT INTO histories (created, method, route, data, status)
    SELECT (value->>0)::timestamptz, value->>1, value->>2, value->>3, value->>4
    FROM jsonb_array_elements($2::text::jsonb) WITH ORDINALITY AS batch (value, place)
    ORDER BY place
)
SELECT id FROM words
