-- AUTOINCREMENT: the id of a row that is gone is never given again.
-- Times are RFC 3339 in UTC, with milliseconds and Z.
CREATE TABLE randomizes (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    original TEXT NOT NULL,
    jumbled  TEXT NOT NULL,
    created  TEXT NOT NULL,
    updated  TEXT
) STRICT;

CREATE TABLE histories (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    created TEXT NOT NULL,
    method  TEXT NOT NULL,
    route   TEXT NOT NULL,
    data    TEXT NOT NULL,
    status  TEXT NOT NULL
) STRICT;
