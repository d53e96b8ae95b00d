-- Jobs that wait. AUTOINCREMENT: a number is never given twice, so numbers are the order of acceptance.
-- Times are milliseconds since 1970.
CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    data TEXT NOT NULL,
    created INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due INTEGER NOT NULL DEFAULT 0
) STRICT;

-- What is stored.
CREATE TABLE entropy (
    seq INTEGER PRIMARY KEY,
    data TEXT NOT NULL,
    created INTEGER NOT NULL
) STRICT;

-- What was stored and deleted.
CREATE TABLE tombstones (
    seq INTEGER PRIMARY KEY,
    expires INTEGER NOT NULL
) STRICT;
CREATE INDEX tombstones_by_expiry ON tombstones (expires);

-- Jobs that were refused too often.
CREATE TABLE dead_letters (
    seq INTEGER PRIMARY KEY,
    data TEXT NOT NULL,
    created INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    reason TEXT NOT NULL
) STRICT;

-- What clients have called their requests.
CREATE TABLE idempotency_keys (
    key TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires);
