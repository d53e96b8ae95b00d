CREATE TABLE randomizes (
    id       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    original TEXT NOT NULL,
    jumbled  TEXT NOT NULL,
    created  TIMESTAMPTZ NOT NULL,
    updated  TIMESTAMPTZ
);

CREATE TABLE histories (
    id      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    created TIMESTAMPTZ NOT NULL,
    method  TEXT NOT NULL,
    route   TEXT NOT NULL,
    data    TEXT NOT NULL,
    status  TEXT NOT NULL
);
