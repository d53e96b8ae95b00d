INSERT INTO histories (created, method, route, data, status)
SELECT value->>0, value->>1, value->>2, value->>3, value->>4 FROM json_each($1) ORDER BY key
