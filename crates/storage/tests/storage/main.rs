//! Both databases, by what a service does with them.
#![expect(clippy::unwrap_used, reason = "in a test, what cannot go on is a failure")]

mod availability;
mod batches;
mod migrations;
mod pgbouncer;
mod rotation;
mod tls;

use std::time::Duration;

use common::{Loader, Service};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use server::{Application, Running, Stop};
use sqlx::migrate::Migrator;
use storage::{
    Batch, Connection, Database, DatabaseConfig, Error, Execution, Operation, Schema, Writer,
    either,
};
use test_support::{SqlDatabase, wait_until};

/// How long a test waits for what happens in the background.
const TIMEOUT: Duration = Duration::from_secs(30);

const SERVICE: Service = common::service!(port: 0);

static SCHEMA: Schema = Schema {
    sqlite: sqlx::migrate!("tests/migrations/sqlite"),
    postgres: sqlx::migrate!("tests/migrations/postgres"),
};

/// A service that keeps words, each of them once.
struct Words {
    database: Database,
    writer: Writer<String, i64>,
    counting: Operation,
    readiness: common::Readiness,
    running: Running,
    client: reqwest::Client,
}

impl Words {
    /// Starts it, once it is ready.
    async fn start(database: &SqlDatabase) -> Self {
        let words = Self::begin(&[("DATABASE_URL", database.url())], &SCHEMA);
        words.wait_until_ready(true).await;
        words
    }

    fn begin(variables: &[(&str, &str)], schema: &'static Schema) -> Self {
        // The process's provider; another test may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let given = [("HOST", "127.0.0.1"), ("PORT", "0"), ("WORKERS", "1")];
        let mut loader = Loader::new(given.iter().chain(variables).copied());
        let common = server::Config::load(&SERVICE, &mut loader);
        let config = DatabaseConfig::load("sqlite://unused.db", &mut loader);
        let ((common, config), _) = loader.finish((common, config)).unwrap();
        let application = Application::new(SERVICE, &common);
        let database = Database::start(&config, schema, &application.context).unwrap();
        let batch =
            Batch { operation: "insert_words", execution: Execution::RequestTask, write: insert };
        let writer = Writer::start(&database, &application.context, batch);
        let counting = database.operation("count_words");
        let readiness = application.context.readiness.clone();
        let running = application.serve(|_| {}).unwrap();
        let client = reqwest::Client::builder().timeout(TIMEOUT).build().unwrap();
        Self { database, writer, counting, readiness, running, client }
    }

    async fn wait_until_ready(&self, ready: bool) {
        wait_until(&format!("ready is {ready}"), TIMEOUT, async || {
            self.readiness.is_ready() == ready
        })
        .await;
    }

    /// What `/readyz` answers.
    async fn readyz(&self) -> String {
        let url = format!("http://{}/readyz", self.running.addr());
        self.client.get(url).send().await.unwrap().text().await.unwrap()
    }

    async fn metric(&self, sample: &str) -> u64 {
        let url = format!("http://{}/metrics", self.running.addr());
        let text = self.client.get(url).send().await.unwrap().text().await.unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        // Sums are written as floating-point numbers.
        value.unwrap().split('.').next().unwrap().parse().unwrap()
    }

    async fn count(&self) -> Result<i64, Error> {
        let count = async |connection: Connection<'_>| {
            either!(connection, |connection| {
                sqlx::query_scalar("SELECT count(*) FROM words").fetch_one(connection).await
            })
        };
        self.database.read(&self.counting, count).await
    }

    async fn stop(self) -> bool {
        self.running.stop_handle().stop(Stop::SkipDrainDelay);
        self.running.wait().await
    }
}

/// One statement for each word, so that a test can count on the order of ids.
fn insert<'a>(
    connection: Connection<'a>,
    words: &'a [String],
) -> BoxFuture<'a, sqlx::Result<Vec<i64>>> {
    async move {
        either!(connection, |connection| {
            let mut ids = Vec::new();
            for word in words {
                let insert =
                    sqlx::query_scalar("INSERT INTO words (word) VALUES ($1) RETURNING id");
                ids.push(insert.bind(word).fetch_one(&mut *connection).await?);
            }
            Ok(ids)
        })
    }
    .boxed()
}

/// A schema of other migrations than the binary's: what another release would bring.
fn schema(migrations: &[(i64, &'static str, &'static str)]) -> &'static Schema {
    let migrator = |own: &Migrator| {
        let mut all: Vec<_> = own.iter().cloned().collect();
        all.extend(migrations.iter().map(|(version, name, sql)| {
            sqlx::migrate::Migration::new(
                *version,
                (*name).into(),
                sqlx::migrate::MigrationType::Simple,
                sqlx::SqlSafeStr::into_sql_str(*sql),
                false,
            )
        }));
        Migrator::with_migrations(all)
    };
    let schema = Schema { sqlite: migrator(&SCHEMA.sqlite), postgres: migrator(&SCHEMA.postgres) };
    Box::leak(Box::new(schema))
}
