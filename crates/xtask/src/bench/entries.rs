//! What is measured. A service is added as an [`Entry`] of [`ENTRIES`].
//!
//! An entry names the service and its variables, then
//! - `requests`: each loads the service and a bare server that sends the same bytes. What an answer
//!   depends on has to be the same each time, or the bare server cannot send it.
//! - `loads`: what else the service has to stand, each with a process of its own, and no bare server
//!   beside it but a proxy. A new kind is a variant of [`Load`] with a module of its own.
//!
//! The service's working directory is new and thrown away afterwards, so paths below it may be relative:
//! `LOG_FILES_DIR=logs`, `DATABASE_URL=sqlite://data.db`.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;

use super::{
    held_files::HeldFiles,
    in_flight::InFlight,
    jobs::{Jobs, Within},
    names::Names,
    queue::Queue,
    report::Row,
    rows::Rows,
    server::Stand,
    streaming::Streaming,
    tracing::Tracing,
    writes::Writes,
};

/// A variable and its value.
pub(super) type Variable = (&'static str, &'static str);

/// A variable's value that stands for the address of the benchmark's own name server.
pub(super) const NAME_SERVER: &str = "<name server>";

/// A service: how it is started for the measurement, and what is measured.
pub(super) struct Entry {
    /// What its figures stand under: the service, and what sets this entry apart where it has several.
    pub(super) name: &'static str,
    /// Name of the service and of its binary.
    pub(super) service: &'static str,
    /// Variables beside `HOST`, `PORT`, `WORKERS` and `LOG_FORMAT`; nothing else is set.
    pub(super) env: &'static [Variable],
    /// Whether it gets an `ADMIN_PORT`, where `/readyz` and `/metrics` are then asked.
    pub(super) admin_port: bool,
    /// Whether it gets a Redis and a MongoDB of its own, which `REDIS_URL` and `MONGO_URL` name.
    pub(super) has_stores: bool,
    /// Asked once before the requests, which may need what these leave behind.
    pub(super) first: &'static [Request],
    pub(super) requests: &'static [Request],
    pub(super) loads: &'static [Load],
    pub(super) limits: Limits,
}

/// What a process may take.
pub(super) struct Limits {
    /// Largest binary in MiB, without symbols.
    pub(super) binary_mib: f64,
    /// Longest time in ms from exec until `/readyz` answers 200.
    pub(super) ready_ms: f64,
    /// Most resident memory in MiB after the start.
    pub(super) idle_mib: f64,
    /// Most resident memory 10 s after the load, as a multiple of the idle memory.
    pub(super) settled_ratio: f64,
}

/// A request that the service answers as often as it is asked.
pub(super) struct Request {
    /// Path and query.
    pub(super) target: &'static str,
    pub(super) method: &'static str,
    /// Headers beside those that every request of the benchmark carries, `Name: value`.
    pub(super) headers: &'static [&'static str],
    /// Its body, if it has one.
    pub(super) body: Option<&'static str>,
    /// Whether the access log has a line for it at level `info`.
    pub(super) logged: bool,
    /// Most CPU time a request, as a multiple of the bare server's.
    pub(super) cpu_ratio: Option<f64>,
}

impl Request {
    /// A GET request without a body, headers of its own, a log line or a target.
    pub(super) const fn get(target: &'static str) -> Self {
        Self { target, method: "GET", headers: &[], body: None, logged: false, cpu_ratio: None }
    }

    pub(super) fn path(&self) -> &'static str {
        self.target.split('?').next().unwrap_or(self.target)
    }

    /// All headers but `Host`, `Connection` and `Content-Length`.
    pub(super) fn headers(&self) -> impl Iterator<Item = &'static str> {
        // What curl sends.
        ["User-Agent: xtask-bench", "Accept: */*"].into_iter().chain(self.headers.iter().copied())
    }

    /// The request as HTTP/1.1 has it, with `Connection: <connection>`.
    pub(super) fn to_http(&self, host: SocketAddr, connection: &str) -> String {
        let mut head = vec![
            format!("{} {} HTTP/1.1", self.method, self.target),
            format!("Host: {host}"),
            format!("Connection: {connection}"),
        ];
        head.extend(self.headers().map(str::to_owned));
        head.extend(self.body.map(|body| format!("Content-Length: {}", body.len())));
        format!("{}\r\n\r\n{}", head.join("\r\n"), self.body.unwrap_or_default())
    }
}

/// What a service has to stand beside requests.
pub(super) enum Load {
    InFlight(InFlight),
    HeldFiles(HeldFiles),
    Jobs(Jobs),
    Names(Names),
    Queue(Queue),
    Rows(Rows),
    Streaming(Streaming),
    Tracing(Tracing),
    Writes(Writes),
}

impl Load {
    /// The figures of the load alone.
    ///
    /// # Errors
    /// When the service does not do what the measurement rests on.
    pub(super) async fn measure(&self, stand: &Stand<'_>) -> Result<Vec<Row>> {
        match self {
            Self::InFlight(load) => load.measure(stand).await,
            Self::HeldFiles(load) => load.measure(stand).await,
            Self::Names(load) => load.measure(stand).await,
            Self::Jobs(load) => load.measure(stand).await,
            Self::Queue(load) => load.measure(stand).await,
            Self::Rows(load) => load.measure(stand).await,
            Self::Streaming(load) => load.measure(stand).await,
            Self::Tracing(load) => load.measure(stand).await,
            Self::Writes(load) => load.measure(stand).await,
        }
    }
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
const PLAIN: Request = Request { logged: true, cpu_ratio: Some(1.5), ..Request::get("/") };

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
const WITHIN: Within = Within { seconds: "0.05", share: 0.99 };

/// The order is that of the sections in `docs/performance.md`.
pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        name: "backend-api",
        service: "backend-api",
        env: &[("EXTERNAL_INTEGRATION_KEY", "benchmark")],
        admin_port: false,
        has_stores: false,
        first: &[],
        requests: &[
            Request { target: "/health_check", ..PLAIN },
            Request { target: "/download_external_logs", ..PLAIN },
        ],
        loads: &[
            Load::InFlight(InFlight {
                target: "/api_1",
                env: &[],
                within: Duration::from_secs(1),
                memory_mib: 200.0,
                files: None,
            }),
            Load::Streaming(Streaming {
                target: "/download_external_logs",
                upstream: "EXTERNAL_API_URL",
                memory_mib: 64.0,
                rate_ratio: 0.8,
            }),
        ],
        limits: LIMITS,
    },
    Entry {
        name: "data-api",
        service: "data-api",
        env: &[("LOG_FILES_DIR", "logs")],
        admin_port: false,
        has_stores: false,
        first: &[],
        requests: &[Request { target: "/health_check", ..PLAIN }],
        loads: &[
            Load::InFlight(InFlight {
                target: "/",
                env: &[],
                within: Duration::from_secs(6),
                memory_mib: 200.0,
                files: Some("logs"),
            }),
            Load::HeldFiles(HeldFiles {
                folder: "logs",
                env: &[("LOG_RETENTION_FILES", "2000000"), ("PROCESSING_DELAY", "0s")],
                written_by: "/",
                listed_by: "/logs",
                ready_ms: 5000.0,
                write_ratio: 2.0,
            }),
        ],
        limits: LIMITS,
    },
    Entry {
        name: "multivac, embedded",
        service: "multivac",
        env: &[],
        admin_port: false,
        has_stores: false,
        first: &[],
        requests: &[Request { target: "/", cpu_ratio: None, ..PLAIN }],
        loads: &[
            Load::Writes(Writes {
                request: FEED,
                variable: "MULTIVAC_DB",
                statements: &[],
                requests_a_commit: 16.0,
                cpu_ratio: None,
                commit_ratio: None,
                pgbench_ratio: None,
            }),
            Load::Jobs(Jobs {
                request: FEED,
                rate: Some(5000.0),
                bare_ratio: None,
                within: WITHIN,
            }),
            Load::Rows(Rows {
                request: Request { target: "/multivac", ..PLAIN },
                variable: "MULTIVAC_DB",
                few: 10,
                fill: FILL_ENTROPY,
                cpu_ratio: 1.2,
            }),
            Load::Rows(Rows {
                request: Request { target: "/multivac/zzz", method: "DELETE", ..PLAIN },
                variable: "MULTIVAC_DB",
                few: 10,
                fill: FILL_ENTROPY,
                cpu_ratio: 1.2,
            }),
        ],
        limits: MULTIVAC_LIMITS,
    },
    Entry {
        name: "multivac with Redis and MongoDB",
        service: "multivac",
        env: &[],
        admin_port: false,
        has_stores: true,
        first: &[],
        requests: &[Request { target: "/", cpu_ratio: None, ..PLAIN }],
        loads: &[
            Load::Queue(Queue { request: FEED, rate_ratio: 0.7 }),
            Load::Jobs(Jobs { request: FEED, rate: None, bare_ratio: Some(0.5), within: WITHIN }),
        ],
        limits: MULTIVAC_LIMITS,
    },
    Entry {
        name: "randomize",
        service: "randomize",
        env: &[],
        admin_port: false,
        has_stores: false,
        first: &[CREATE_WORD],
        requests: &[Request {
            // Its log lines have the word's number where the route has a parameter.
            logged: false,
            target: "/api/randomizes/1",
            cpu_ratio: Some(8.0),
            ..PLAIN
        }],
        loads: &[
            Load::Writes(Writes {
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
                // 30 µs where a GET takes the bare server 7.5.
                cpu_ratio: Some(4.0),
                commit_ratio: Some(1.2),
                pgbench_ratio: Some(0.6),
            }),
            Load::Rows(Rows {
                request: Request { target: "/api/histories", ..PLAIN },
                variable: "DATABASE_URL",
                few: 100,
                fill: "WITH RECURSIVE counted(n) AS \
                       (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < $1) \
                       INSERT INTO histories (created, method, route, data, status) \
                       SELECT '2026-01-01T00:00:00.000Z', 'POST', '/api/randomizes', \
                       '{\"word\":\"string\"}', '201 CREATED' FROM counted",
                cpu_ratio: 1.2,
            }),
        ],
        limits: LIMITS_WITH_DATABASE,
    },
    Entry {
        name: "sre-kata",
        service: "sre-kata",
        env: &[],
        admin_port: false,
        has_stores: false,
        first: &[],
        requests: &[
            Request { target: "/query?param=acx333x", ..PLAIN },
            Request { target: "/healthz", logged: false, cpu_ratio: None, ..PLAIN },
        ],
        loads: &[Load::Tracing(Tracing {
            request: Request { target: "/query?param=acx333x", ..PLAIN },
            one_percent_ratio: 1.1,
            all_ratio: 1.8,
            away_ratio: 1.05,
        })],
        limits: LIMITS,
    },
    Entry {
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
        first: &[],
        requests: &[Request {
            target: "/query?param=acx333x",
            headers: &["X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: https"],
            ..PLAIN
        }],
        loads: &[],
        limits: LIMITS,
    },
    Entry {
        name: "stakefish",
        service: "stakefish",
        env: &[("DNS_SERVERS", NAME_SERVER), ("LOOKUP_RATE_LIMIT", "none")],
        admin_port: false,
        has_stores: false,
        first: &[],
        requests: &[
            PLAIN,
            Request {
                target: "/tools/validate",
                method: "POST",
                headers: &["Content-Type: application/json"],
                body: Some(r#"{"ip":"192.168.5.4"}"#),
                cpu_ratio: Some(1.8),
                ..PLAIN
            },
        ],
        loads: &[
            Load::Writes(Writes {
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
                cpu_ratio: None,
                commit_ratio: None,
                pgbench_ratio: Some(0.6),
            }),
            Load::Names(Names {
                target: "/v1/tools/lookup?domain=",
                variable: "DATABASE_URL",
                rate_ratio: 0.8,
            }),
            Load::Rows(Rows {
                request: Request { target: "/history", ..PLAIN },
                variable: "DATABASE_URL",
                few: 100,
                fill: FILL_QUERIES,
                cpu_ratio: 1.2,
            }),
            Load::Rows(Rows {
                request: Request { target: "/metrics", ..Request::get("/metrics") },
                variable: "DATABASE_URL",
                few: 100,
                fill: FILL_QUERIES,
                cpu_ratio: 1.2,
            }),
        ],
        limits: LIMITS_WITH_DATABASE,
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
