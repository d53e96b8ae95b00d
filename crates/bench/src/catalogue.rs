//! What is measured. A service is added as a [`Scenario`] of [`CATALOGUE`].
//!
//! A scenario names the service and its variables, then
//! - `requests`: each loads the service and a bare server that sends the same bytes. What an answer
//!   depends on has to be the same each time, or the bare server cannot send it.
//! - `workloads`: what else is measured of the service, each with a process of its own, and no bare server
//!   beside it but a proxy. A new kind is a module of `workloads` and a variant of [`Workload`].
//!
//! The service's working directory is new and thrown away afterwards, so paths below it may be relative:
//! `LOG_FILES_DIR=logs`, `DATABASE_URL=sqlite://data.db`.

use std::time::Duration;

use crate::plot::Plot;
use crate::request::Request;
use crate::subject::{Limits, NAME_SERVER, Subject};
use crate::workloads::{
    BesideBareLoop, Chain, Grows, Growth, HeldFiles, InFlight, Jobs, Names, Queue, Rows, Streaming,
    Tls, Tracing, Within, Workers, Workload, Writes,
};

/// What is measured of a service in one configuration.
pub(crate) struct Scenario {
    pub(crate) subject: Subject,
    /// Sent once before the requests, which may need what these leave behind.
    pub(crate) first: &'static [Request],
    pub(crate) requests: &'static [Request],
    pub(crate) workloads: &'static [Workload],
}

/// What is asked of every service.
const LIMITS: Limits =
    Limits { binary_mib: 15.0, ready_ms: 50.0, idle_mib: 12.0, settled_ratio: 2.0 };

/// Of a service that keeps rows: it carries SQLite and a client of PostgreSQL.
const LIMITS_WITH_DATABASE: Limits =
    Limits { binary_mib: 25.0, ready_ms: 100.0, idle_mib: 20.0, settled_ratio: 2.0 };

/// Of a service that brings clients of Redis and MongoDB, too.
const MULTIVAC_LIMITS: Limits = Limits { binary_mib: 30.0, ..LIMITS_WITH_DATABASE };

/// A plain endpoint: what the kit costs is nearly all of what it costs.
const PLAIN: Request = Request { logged: true, cpu_ratio: Some(1.2), ..Request::get("/") };

/// sre-kata's own work: it counts the characters of a text that repeat.
const COUNT: Request = Request { target: "/query?param=acx333x", ..PLAIN };

const CREATE_WORD: Request = Request {
    method: "POST",
    headers: &["Content-Type: application/json"],
    body: Some(r#"{"word":"string"}"#),
    ..Request::get("/api/randomizes")
};

const FEED: Request = Request {
    method: "POST",
    headers: &["Content-Type: application/x-www-form-urlencoded"],
    body: Some("data=What+is+the+last+question"),
    ..Request::get("/multivac/data")
};

/// How soon, and which share of the jobs, is stored.
const WITHIN: Within = Within { seconds: "0.05", share: 1.0 };

/// The order is that of the sections in `docs/performance.md`.
pub(crate) const CATALOGUE: &[Scenario] = &[
    Scenario {
        subject: Subject {
            name: "backend-api",
            service: "backend-api",
            env: &[("EXTERNAL_INTEGRATION_KEY", "benchmark")],
            admin_port: false,
            has_stores: false,
            limits: LIMITS,
        },
        first: &[],
        requests: &[
            Request { target: "/health_check", ..PLAIN },
            Request { target: "/download_external_logs", ..PLAIN },
        ],
        workloads: &[
            Workload::InFlight(InFlight {
                target: "/api_1",
                env: &[],
                within: Duration::from_secs(1),
                memory_mib: 128.0,
                files: None,
            }),
            Workload::Streaming(Streaming {
                target: "/download_external_logs",
                upstream: "EXTERNAL_API_URL",
                memory_mib: 64.0,
                rate_ratio: 1.0,
            }),
            Workload::Chain(Chain {
                target: "/download_external_logs",
                upstream: "EXTERNAL_API_URL",
                from: ("data-api", "LOG_FILES_DIR", "/logs/download"),
                rate: 200.0,
            }),
        ],
    },
    Scenario {
        subject: Subject {
            name: "data-api",
            service: "data-api",
            env: &[("LOG_FILES_DIR", "logs")],
            admin_port: false,
            has_stores: false,
            limits: LIMITS,
        },
        first: &[],
        requests: &[Request { target: "/health_check", ..PLAIN }],
        workloads: &[
            Workload::InFlight(InFlight {
                target: "/",
                env: &[],
                within: Duration::from_secs(6),
                memory_mib: 128.0,
                files: Some("logs"),
            }),
            Workload::HeldFiles(HeldFiles {
                folder: "logs",
                env: &[("LOG_RETENTION_FILES", "2000000"), ("PROCESSING_DELAY", "0s")],
                written_by: "/",
                listed_by: "/logs",
                ready_ms: 5000.0,
                write_ratio: 2.0,
            }),
        ],
    },
    Scenario {
        subject: Subject {
            name: "multivac, embedded",
            service: "multivac",
            env: &[],
            admin_port: false,
            has_stores: false,
            limits: MULTIVAC_LIMITS,
        },
        first: &[],
        requests: &[Request { target: "/", cpu_ratio: None, ..PLAIN }],
        workloads: &[
            Workload::Writes(Writes {
                request: FEED,
                variable: "MULTIVAC_DB",
                statements: &[],
                requests_a_commit: 16.0,
                // A job, from the request to its storage.
                cpu_ratio: Some(5.0),
                commit_ratio: None,
                pgbench_ratio: None,
            }),
            Workload::Jobs(Jobs {
                request: FEED,
                rate: Some(10_000.0),
                bare: None,
                within: WITHIN,
            }),
            Workload::Rows(Rows {
                request: Request { target: "/multivac", ..PLAIN },
                variable: "MULTIVAC_DB",
                baseline: 10,
                fill: FILL_ENTROPY,
                cpu_ratio: 1.2,
                cpu_us: None,
            }),
            Workload::Rows(Rows {
                request: Request { target: "/multivac/zzz", method: "DELETE", ..PLAIN },
                variable: "MULTIVAC_DB",
                baseline: 10,
                fill: FILL_ENTROPY,
                cpu_ratio: 1.2,
                cpu_us: None,
            }),
        ],
    },
    Scenario {
        subject: Subject {
            name: "multivac with Redis and MongoDB",
            service: "multivac",
            env: &[],
            admin_port: false,
            has_stores: true,
            limits: MULTIVAC_LIMITS,
        },
        first: &[],
        requests: &[Request { target: "/", cpu_ratio: None, ..PLAIN }],
        workloads: &[
            Workload::Queue(Queue { request: FEED, rate_ratio: 0.85 }),
            Workload::Jobs(Jobs {
                request: FEED,
                rate: None,
                bare: Some(BesideBareLoop { ratio: 0.95, round: 10_000 }),
                within: WITHIN,
            }),
        ],
    },
    Scenario {
        subject: Subject {
            name: "randomize",
            service: "randomize",
            env: &[],
            admin_port: false,
            has_stores: false,
            limits: LIMITS_WITH_DATABASE,
        },
        first: &[CREATE_WORD],
        requests: &[Request {
            // Its log lines have the word's number where the route has a parameter.
            logged: false,
            target: "/api/randomizes/1",
            cpu_ratio: None,
            ..PLAIN
        }],
        workloads: &[
            Workload::Writes(Writes {
                request: CREATE_WORD,
                variable: "DATABASE_URL",
                statements: &[
                    "INSERT INTO randomizes (original, jumbled, created) \
                     VALUES ('string', 'gsntri', '2026-01-01T00:00:00.000Z')",
                    "INSERT INTO histories (created, method, route, data, status) \
                     VALUES ('2026-01-01T00:00:00.000Z', 'POST', '/api/randomizes', \
                     '{\"word\":\"string\"}', '201 CREATED')",
                ],
                requests_a_commit: 16.0,
                cpu_ratio: Some(3.0),
                commit_ratio: Some(1.2),
                pgbench_ratio: Some(0.6),
            }),
            Workload::Rows(Rows {
                request: Request { target: "/api/histories", ..PLAIN },
                variable: "DATABASE_URL",
                baseline: 100,
                fill: FILL_HISTORIES,
                cpu_ratio: 1.2,
                cpu_us: None,
            }),
        ],
    },
    Scenario {
        subject: Subject {
            name: "sre-kata",
            service: "sre-kata",
            env: &[],
            admin_port: false,
            has_stores: false,
            limits: LIMITS,
        },
        first: &[],
        requests: &[COUNT, Request { target: "/healthz", logged: false, cpu_ratio: None, ..PLAIN }],
        workloads: &[
            Workload::Tracing(Tracing {
                request: COUNT,
                one_percent_ratio: 1.1,
                all_ratio: 1.8,
                away_ratio: 1.05,
            }),
            Workload::Workers(Workers { request: COUNT, cpu_ratio: 1.05, rate_ratio: 1.9 }),
            Workload::Tls(Tls { request: COUNT, cpu_ratio: 1.3, handshake_ratio: 0.9 }),
        ],
    },
    Scenario {
        subject: Subject {
            name: "sre-kata behind a proxy, all switched on",
            service: "sre-kata",
            env: &[
                ("FORCE_HTTPS", "true"),
                // More than any client here can make: the price of asking is measured.
                ("RATE_LIMIT", "1000000000/s"),
                ("TRUSTED_PROXIES", "127.0.0.0/8"),
            ],
            admin_port: true,
            has_stores: false,
            limits: LIMITS,
        },
        first: &[],
        requests: &[Request {
            headers: &["X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: https"],
            cpu_ratio: Some(1.3),
            ..COUNT
        }],
        workloads: &[],
    },
    Scenario {
        subject: Subject {
            name: "stakefish",
            service: "stakefish",
            env: &[("DNS_SERVERS", NAME_SERVER), ("LOOKUP_RATE_LIMIT", "none")],
            admin_port: false,
            has_stores: false,
            limits: LIMITS_WITH_DATABASE,
        },
        first: &[],
        requests: &[
            PLAIN,
            Request {
                target: "/tools/validate",
                method: "POST",
                headers: &["Content-Type: application/json"],
                body: Some(r#"{"ip":"192.168.5.4"}"#),
                cpu_ratio: Some(1.4),
                ..PLAIN
            },
        ],
        workloads: &[
            Workload::Writes(Writes {
                request: Request {
                    method: "POST",
                    headers: &["Content-Type: application/json"],
                    body: Some(r#"{"domain":"example.com"}"#),
                    ..Request::get("/tools/lookup")
                },
                variable: "DATABASE_URL",
                statements: &[
                    "INSERT INTO queries (domain, client_ip, created_at) \
                     VALUES ('example.com', '127.0.0.1', '2026-01-01T00:00:00.000Z')",
                    "INSERT INTO addresses VALUES ('93.184.216.34') ON CONFLICT DO NOTHING",
                    "INSERT INTO query_addresses VALUES (lastval(), '93.184.216.34')",
                    "INSERT INTO domain_deltas (domain, queries, addresses) \
                     VALUES ('example.com', 1, 1)",
                ],
                requests_a_commit: 16.0,
                cpu_ratio: Some(3.5),
                commit_ratio: None,
                pgbench_ratio: Some(0.6),
            }),
            Workload::Names(Names {
                target: "/v1/tools/lookup?domain=",
                variable: "DATABASE_URL",
                rate_ratio: 0.8,
            }),
            Workload::Rows(Rows {
                request: Request { target: "/history", ..PLAIN },
                variable: "DATABASE_URL",
                baseline: 100,
                fill: FILL_QUERIES,
                cpu_ratio: 1.2,
                cpu_us: Some(100.0),
            }),
            Workload::Rows(Rows {
                request: Request { target: "/metrics", ..Request::get("/metrics") },
                variable: "DATABASE_URL",
                baseline: 100,
                fill: FILL_QUERIES,
                cpu_ratio: 1.2,
                cpu_us: Some(100.0),
            }),
        ],
    },
];

/// Stored data, of which there are always as many: where one is deleted, another comes last.
const FILL_ENTROPY: &str = "WITH RECURSIVE counted(n) AS \
     (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < $1) \
     INSERT INTO entropy (seq, data, created) SELECT n, 'datum', 1767225600000 FROM counted; \
     CREATE TRIGGER refill AFTER DELETE ON entropy BEGIN \
     INSERT INTO entropy (seq, data, created) \
     SELECT max(seq) + 1, OLD.data, OLD.created FROM entropy; END";

/// Saved lookups of 100 names with an address each, and their counts.
const FILL_QUERIES: &str = "WITH RECURSIVE counted(n) AS \
     (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < $1) \
     INSERT INTO queries (id, domain, client_ip, created_at) \
     SELECT n, 'name' || n % 100 || '.example', '127.0.0.1', '2026-01-01T00:00:00.000Z' \
     FROM counted; \
     INSERT INTO addresses VALUES ('192.0.2.1'); \
     INSERT INTO query_addresses SELECT id, '192.0.2.1' FROM queries; \
     INSERT INTO domain_deltas (domain, queries, addresses) \
     SELECT domain, count(*), count(*) FROM queries GROUP BY domain";

/// Of writes 4 096 wait at most, and more are refused.
const WRITES: Grows = Grows::Connections { most: 1000 };

/// How cost grows, for the pictures in `docs/performance.md`.
pub(crate) const PLOTS: &[Plot] = &[
    Plot {
        file: "growth-connections.svg",
        grows: "connections that ask at once",
        growths: &[
            Growth {
                name: "sre-kata, count",
                subject: "sre-kata",
                request: COUNT,
                of: Grows::Connections { most: 10_000 },
            },
            Growth {
                name: "data-api, health check",
                subject: "data-api",
                request: Request { target: "/health_check", ..PLAIN },
                of: Grows::Connections { most: 10_000 },
            },
            Growth {
                name: "randomize, create a word",
                subject: "randomize",
                request: CREATE_WORD,
                of: WRITES,
            },
            Growth {
                name: "multivac embedded, add a job",
                subject: "multivac, embedded",
                request: FEED,
                of: WRITES,
            },
        ],
    },
    Plot {
        file: "growth-rows.svg",
        grows: "rows in the table",
        growths: &[
            Growth {
                name: "randomize, a page of the audit trail",
                subject: "randomize",
                request: Request { target: "/api/histories", ..PLAIN },
                of: Grows::Rows { variable: "DATABASE_URL", fill: FILL_HISTORIES },
            },
            Growth {
                name: "stakefish, history",
                subject: "stakefish",
                request: Request { target: "/history", ..PLAIN },
                of: Grows::Rows { variable: "DATABASE_URL", fill: FILL_QUERIES },
            },
            Growth {
                name: "stakefish, metrics",
                subject: "stakefish",
                request: Request::get("/metrics"),
                of: Grows::Rows { variable: "DATABASE_URL", fill: FILL_QUERIES },
            },
            Growth {
                name: "multivac embedded, a page of the data",
                subject: "multivac, embedded",
                request: Request { target: "/multivac", ..PLAIN },
                of: Grows::Rows { variable: "MULTIVAC_DB", fill: FILL_ENTROPY },
            },
        ],
    },
];

/// Rows of randomize's audit trail.
const FILL_HISTORIES: &str = "WITH RECURSIVE counted(n) AS \
     (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < $1) \
     INSERT INTO histories (created, method, route, data, status) \
     SELECT '2026-01-01T00:00:00.000Z', 'POST', '/api/randomizes', \
     '{\"word\":\"string\"}', '201 CREATED' FROM counted";
