//! Jobs and data in one SQLite file, for one machine.

mod add;
mod batch;
mod dead_letters;
mod entropy;
mod queue;
mod time;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use common::ServiceContext;
use common::context::TraceParent;
use common::telemetry::spans::fail;
use server::StartError;
use sqlx::SqliteConnection;
use storage::{Batch, Connection, Database, Execution, Operation, Schema, Writer};
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::Instrument as _;

use super::interface::{DeadLetter, Job, QueueState, Store};
use crate::config::{Config, JobsConfig};
use crate::error::Error;
use crate::metrics::JobMetrics;
use add::Added;
use batch::{Change, Outcome};
use time::since;

/// How long the worker waits for a job before it reads the file: the command `dead-letters` queues jobs
/// without notifying it.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

static SCHEMA: Schema = Schema {
    sqlite: sqlx::migrate!("migrations/sqlite"),
    // Never used: only a file is accepted.
    postgres: sqlx::migrate!("migrations/sqlite"),
};

/// The queue and the store. A job moves within a transaction, so none is ever repeated.
pub(crate) struct Embedded {
    database: Database,
    read: Operation,
    /// All changes go through here, many with one commit.
    writer: Writer<(Change, JobsConfig), Outcome>,
    /// Notified of each job.
    job_added: Notify,
    jobs: JobsConfig,
    metrics: JobMetrics,
}

impl Embedded {
    /// Opens the file in the background, and creates it if it is missing.
    ///
    /// # Errors
    /// When the URL is none of a file.
    pub(crate) fn open(
        config: &Config,
        context: &ServiceContext,
        metrics: JobMetrics,
    ) -> Result<Arc<Self>, StartError> {
        let batch = Batch {
            operation: "write",
            execution: Execution::ServiceRuntime,
            write: |connection, changes| {
                Box::pin(async move { batch::apply(sqlite(connection)?, changes).await })
            },
        };
        let database = Database::start(&config.stores.database(), &SCHEMA, context)?;
        Ok(Arc::new(Self {
            read: database.operation("read"),
            writer: Writer::start(&database, context, batch),
            database,
            job_added: Notify::new(),
            jobs: config.jobs,
            metrics,
        }))
    }

    async fn read<T>(
        &self,
        statements: impl AsyncFnOnce(&mut SqliteConnection) -> sqlx::Result<T>,
    ) -> Result<T, Error> {
        let read = async |connection: Connection<'_>| statements(sqlite(connection)?).await;
        Ok(self.database.read(&self.read, read).await?)
    }

    async fn write(&self, change: Change) -> Result<Outcome, Error> {
        Ok(self.writer.write((change, self.jobs)).await?)
    }

    /// Waits until a job may be due, up to half a second; returns whether one is.
    async fn is_due(&self) -> Result<bool, Error> {
        if timeout(POLL_INTERVAL, self.job_added.notified()).await.is_ok() {
            return Ok(true);
        }
        self.read(async |connection| queue::is_due(connection, &self.jobs).await).await
    }
}

#[async_trait]
impl Store for Embedded {
    async fn add(&self, datum: &str, key: Option<&str>) -> Result<String, Error> {
        let span = queue::QUEUE.send();
        let traceparent = span.in_scope(TraceParent::current).map(|context| context.to_string());
        let (datum, key) = (datum.to_owned(), key.map(str::to_owned));
        let add = self.write(Change::Add { datum, key, traceparent });
        let seq = match add.instrument(span.clone()).await? {
            Outcome::Added(Added::New(seq)) => {
                self.metrics.accepted.inc();
                self.job_added.notify_one();
                seq
            }
            Outcome::Added(Added::Known(seq)) => seq,
            _ => {
                fail(&span, "queue_full");
                return Err(Error::QueueFull);
            }
        };
        span.record("messaging.message.id", seq);
        Ok(seq.to_string())
    }

    async fn oldest(&self) -> Result<Option<String>, Error> {
        self.read(async |connection| entropy::oldest(connection).await).await
    }

    async fn delete_oldest(&self) -> Result<bool, Error> {
        Ok(matches!(self.write(Change::DeleteOldest).await?, Outcome::Deleted(true)))
    }

    async fn job(&self, id: &str) -> Result<Option<Job>, Error> {
        let Some(seq) = parse(id) else { return Ok(None) };
        self.read(async |connection| queue::job(connection, seq).await).await
    }

    async fn queue(&self) -> Result<QueueState, Error> {
        Ok(self.read(async |connection| queue::state(connection, false).await).await?.0)
    }

    async fn queue_and_stored(&self) -> Result<(QueueState, u64), Error> {
        self.read(async |connection| queue::state(connection, true).await).await
    }

    async fn store_next(&self) -> Result<(), Error> {
        if !self.is_due().await? {
            return Ok(());
        }
        let Outcome::Moved(moved) = self.write(Change::MoveDue).await? else {
            return Ok(());
        };
        self.metrics.stored.inc_by(moved.stored.len() as u64);
        for created in &moved.stored {
            self.metrics.storage_duration.observe(since(*created).as_secs_f64());
        }
        self.metrics.refused.inc_by(moved.refused);
        for (seq, reason) in &moved.dead {
            self.metrics.count_dead_letter(&seq.to_string(), reason);
        }
        if moved.is_full() {
            self.job_added.notify_one();
        }
        Ok(())
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        self.read(async |connection| dead_letters::list(connection, limit).await).await
    }

    async fn retry(&self, id: Option<&str>) -> Result<u64, Error> {
        let seq = id.map(parse);
        if seq == Some(None) {
            return Ok(0);
        }
        match self.write(Change::Retry { seq: seq.flatten() }).await? {
            Outcome::Retried(count) => Ok(count),
            _ => Ok(0),
        }
    }
}

/// The number in a job's id; none if it cannot be one.
fn parse(id: &str) -> Option<i64> {
    let seq: i64 = id.parse().ok()?;
    // A job has one id: no signs and no leading zeros.
    (seq.to_string() == id && seq > 0).then_some(seq)
}

/// The connection to the file; there is no other kind here.
fn sqlite(connection: Connection<'_>) -> sqlx::Result<&mut SqliteConnection> {
    match connection {
        Connection::Sqlite(connection) => Ok(connection),
        Connection::Postgres(_) => Err(sqlx::Error::protocol("only a file is supported here")),
    }
}
