//! Requests that write a row each: how many share a commit, what one costs, and how that compares with the
//! database alone.

use std::{
    cell::RefCell,
    path::Path,
    str::FromStr as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use sqlx::{
    AssertSqlSafe, Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use test_support::{Durability, Postgres};
use tokio::{net::TcpStream, process::Command};

use super::in_flight::read_answer;
use crate::command::output;
use crate::environment::Environment;
use crate::load::{self, MANY_CONNECTIONS};
use crate::metrics::sum_of_series;
use crate::report::Row;
use crate::request::Request;
use crate::rounds::{Ratio, Rounds};
use crate::samples::Samples;
use crate::server::Server;

/// How often requests are timed one after the other, and how many.
const ROUNDS: usize = 20;
const SAMPLES: usize = 25;

/// Connections of the service's pool, and clients of `pgbench`.
const POOL: u16 = 10;

/// Requests that write a row each.
pub(crate) struct Writes {
    /// A request that writes, the same each time; answered by 201 or 200.
    pub(crate) request: Request,
    /// The variable that names the database.
    pub(crate) variable: &'static str,
    /// What such a request has the database do, within one transaction, without parameters.
    pub(crate) statements: &'static [&'static str],
    /// Fewest requests a commit with SQLite, with 64 connections.
    pub(crate) requests_a_commit: f64,
    /// Most CPU time a request with SQLite, as a multiple of what a GET takes the bare server; asked only
    /// where it is given.
    pub(crate) cpu_ratio: Option<f64>,
    /// Longest time of a request on one connection, less that of one that does nothing, as a multiple of a
    /// commit without a service; asked only where it is given.
    pub(crate) commit_ratio: Option<f64>,
    /// Fewest requests a second with PostgreSQL, as a share of what `pgbench` does; asked only where it is
    /// given.
    pub(crate) pgbench_ratio: Option<f64>,
}

impl Writes {
    /// # Errors
    /// When an answer is no 2xx, or PostgreSQL cannot be had.
    pub(crate) async fn measure(&self, environment: &Environment<'_>) -> Result<Vec<Row>> {
        let url = (self.variable, "sqlite://writes.db");
        let server = environment.service(&[url]).await?;
        let mut rows = self.on_many_connections(environment, &server).await?;
        if let Some(max_ratio) = self.commit_ratio {
            let (database, bare) = (environment.path("writes.db"), environment.path("bare.db"));
            rows.extend(self.on_one_connection(&server, &database, &bare, max_ratio).await?);
        }
        server.stop().await?;
        if let Some(least) = self.pgbench_ratio {
            rows.push(self.beside_pgbench(environment, least).await?);
        }
        Ok(rows)
    }

    fn row(&self, figure: &str) -> Row {
        Row::new(self.request.target, figure)
    }

    async fn load(
        &self,
        environment: &Environment<'_>,
        server: &Server,
        time: Duration,
    ) -> Result<load::Closed> {
        let script = environment.path("writes.lua");
        load::closed(&server.endpoint, &self.request, &script, MANY_CONNECTIONS, time).await
    }

    /// What a commit is shared by, and what a request costs, beside a GET of the bare server. They
    /// alternate.
    async fn on_many_connections(
        &self,
        environment: &Environment<'_>,
        server: &Server,
    ) -> Result<Vec<Row>> {
        let (ready, script) = (Request::get("/readyz"), environment.path("ready.lua"));
        let bare = environment.bare(&[server.ready().await?.to_answer(&ready)?]).await?;
        let ratio: Ratio<2> = |[service, bare]| service.cpu_us / bare.cpu_us;
        let shared = RefCell::new(Samples::default());
        let rounds = Rounds::run(environment.plan, &[ratio], async |side, time| {
            if side == 1 {
                return load::closed(&bare.endpoint, &ready, &script, MANY_CONNECTIONS, time).await;
            }
            let before = commits(server).await?;
            let load = self.load(environment, server, time).await?;
            let commits = u32::try_from(commits(server).await? - before)?;
            shared.borrow_mut().push(f64::from(load.requests) / f64::from(commits));
            Ok(load)
        })
        .await?;
        let [rate, _] = rounds.rates();
        let [cpu_us, bare_us] = rounds.cpu_us().map(|cpu| cpu.with_interval(" µs"));
        let what =
            |figure: &str| self.row(&format!("SQLite, {MANY_CONNECTIONS} connections: {figure}"));
        Ok(vec![
            what("requests a second").service(format!("{rate:.0}")),
            what("requests a commit").samples_at_least(
                &shared.into_inner(),
                Some(self.requests_a_commit),
                "",
            ),
            what("CPU a request, beside a GET").service(cpu_us).bare(bare_us),
            what("CPU a request, beside a GET, ratio").samples_at_most(
                &rounds.samples(ratio),
                self.cpu_ratio,
                "",
            ),
        ])
    }

    /// What a request takes that shares its commit with no other, beside such a commit alone, and beside a
    /// request that does nothing. They alternate, so that noise affects all; each turn is long enough to
    /// find threads and caches awake.
    async fn on_one_connection(
        &self,
        server: &Server,
        database: &Path,
        bare: &Path,
        max_ratio: f64,
    ) -> Result<[Row; 2]> {
        let request = self.request.to_http(server.addr, "keep-alive");
        let nothing = Request::get("/healthz").to_http(server.addr, "keep-alive");
        let mut stream = TcpStream::connect(server.addr).await?;
        let mut connection = self.bare_database(database, bare).await?;
        let [mut request_ms, mut nothing_ms, mut commit_ms] = [(); 3].map(|()| Samples::default());
        for _ in 0..ROUNDS {
            for (request, ms) in [(&nothing, &mut nothing_ms), (&request, &mut request_ms)] {
                for _ in 0..SAMPLES {
                    let started = Instant::now();
                    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await?;
                    read_answer(&mut stream).await?;
                    ms.push(started.elapsed().as_secs_f64() * 1e3);
                }
            }
            for _ in 0..SAMPLES {
                let started = Instant::now();
                let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
                for statement in self.statements {
                    sqlx::query(AssertSqlSafe(*statement)).execute(&mut *transaction).await?;
                }
                transaction.commit().await?;
                commit_ms.push(started.elapsed().as_secs_f64() * 1e3);
            }
        }
        let what = |figure: &str| self.row(&format!("SQLite, one connection: {figure}"));
        let [request_ms, nothing_ms, commit_ms] =
            [request_ms, nothing_ms, commit_ms].map(|samples| samples.median());
        Ok([
            what("time of a request, and of /healthz")
                .service(format!("{request_ms:.2}, {nothing_ms:.2} ms")),
            what("the difference, and a commit without a service")
                .bare(format!("{commit_ms:.2} ms"))
                .at_most(request_ms - nothing_ms, commit_ms * max_ratio, " ms"),
        ])
    }

    /// A database with the same tables, on the same disk.
    async fn bare_database(&self, database: &Path, bare: &Path) -> Result<SqliteConnection> {
        let options = |file: &Path| {
            SqliteConnectOptions::from_str(&format!("sqlite://{}", file.display())).map(|options| {
                options
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full)
            })
        };
        let mut original = SqliteConnection::connect_with(&options(database)?).await?;
        let tables: Vec<String> = sqlx::query_scalar(
            "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '%sqlite%' AND name NOT LIKE '\\_%' ESCAPE '\\'",
        )
        .fetch_all(&mut original)
        .await?;
        let mut connection = SqliteConnection::connect_with(&options(bare)?).await?;
        for table in tables {
            sqlx::raw_sql(AssertSqlSafe(table)).execute(&mut connection).await?;
        }
        Ok(connection)
    }

    /// How many requests are answered where `pgbench` would do the same without them. They alternate.
    async fn beside_pgbench(&self, environment: &Environment<'_>, least: f64) -> Result<Row> {
        let missing = "PostgreSQL comes with `apt install postgresql`";
        let postgres = Postgres::start_own(Durability::Durable).await.context(missing)?;
        let pool = POOL.to_string();
        let env = [(self.variable, postgres.url()), ("DATABASE_MAX_CONNECTIONS", &pool)];
        let server = environment.service(&env).await?;
        let script = environment.path("pgbench.sql");
        let statements = self.statements.iter().map(|statement| format!("{statement};\n"));
        std::fs::write(&script, format!("BEGIN;\n{}COMMIT;\n", statements.collect::<String>()))?;
        self.load(environment, &server, environment.plan.warm_up).await?;
        let [mut ratio, mut rate, mut bare_rate] = [(); 3].map(|()| Samples::default());
        while environment.plan.wants_more(&ratio) {
            let load = self.load(environment, &server, environment.plan.round).await?;
            let bare = pgbench(&postgres, &script, environment.plan.round).await?;
            ratio.push(load.rate / bare);
            rate.push(load.rate);
            bare_rate.push(bare);
        }
        server.stop().await?;
        Ok(self
            .row(&format!("PostgreSQL, pool of {POOL}: requests a second, ratio to pgbench"))
            .samples_at_least(&ratio, Some(least), "")
            .bare(format!("{:.0} of {:.0}", rate.median(), bare_rate.median())))
    }
}

/// Commits of batches so far.
async fn commits(server: &Server) -> Result<u64> {
    sum_of_series(&server.metrics().await?, |series| series == "db_client_batch_size_count")
}

/// Transactions a second.
async fn pgbench(postgres: &Postgres, script: &Path, time: Duration) -> Result<f64> {
    let clients = POOL.to_string();
    let mut command = Command::new(postgres.program("pgbench"));
    command
        .args(["--no-vacuum", "--protocol=prepared", "--client", &clients, "--file"])
        .arg(script)
        .args(["--time", &time.as_secs().to_string(), postgres.url()]);
    let text = output(command).await?;
    let rate = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next());
    Ok(rate.context("pgbench reports no rate")?.parse()?)
}
