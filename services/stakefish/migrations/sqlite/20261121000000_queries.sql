-- A lookup that was saved. Rows are only added.
CREATE TABLE queries (
    id INTEGER PRIMARY KEY,
    domain TEXT NOT NULL,
    client_ip TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT;

-- An address that some name has had, once.
CREATE TABLE addresses (
    ip TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TABLE query_addresses (
    query_id INTEGER NOT NULL REFERENCES queries,
    ip TEXT NOT NULL REFERENCES addresses,
    PRIMARY KEY (query_id, ip)
) STRICT, WITHOUT ROWID;

-- What is to be added to the counts.
CREATE TABLE domain_deltas (
    id INTEGER PRIMARY KEY,
    domain TEXT NOT NULL,
    queries INTEGER NOT NULL,
    addresses INTEGER NOT NULL
) STRICT;

-- How many queries were saved for a name, and how many addresses with them.
CREATE TABLE domain_counts (
    domain TEXT PRIMARY KEY,
    queries INTEGER NOT NULL,
    addresses INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX domain_counts_most_queries ON domain_counts (queries DESC, domain);

-- The sums of the counts, in one row.
CREATE TABLE domain_totals (
    queries INTEGER NOT NULL,
    addresses INTEGER NOT NULL
) STRICT;
INSERT INTO domain_totals VALUES (0, 0);
