//! Jobs and data in one SQLite file, for one machine.

mod writes;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use common::ServiceContext;
use common::config::Secret;
use server::StartError;
use sqlx::SqliteConnection;
use storage::{Connection, Database, DatabaseConfig, Operation, Schema, Writer};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::{DeadLetter, Job, Queue, Status, Store};
use crate::config::Config;
use crate::error::Error;
use crate::metrics::JobMetrics;
use writes::{Done, Limits, Write};

/// How long the worker waits for a job before it looks around: it is not told of those that the command
/// `dead-letters` queues.
const LOOK: Duration = Duration::from_millis(500);

static SCHEMA: Schema = Schema {
    sqlite: sqlx::migrate!("migrations/sqlite"),
    // Never asked for: only a file is taken.
    postgres: sqlx::migrate!("migrations/sqlite"),
};

/// How a file is kept: as by default in every service.
pub(crate) fn database_config(url: &str) -> DatabaseConfig {
    DatabaseConfig { database_url: Some(Secret::from(url)), ..DatabaseConfig::default() }
}

/// The stores. A job moves within a transaction, so none is ever repeated.
pub(super) struct Embedded {
    database: Database,
    read: Operation,
    /// Everything that changes goes through here, many changes with one commit.
    writer: Writer<Write, Done>,
    /// There is a job.
    wake: Notify,
    limits: Limits,
    metrics: JobMetrics,
}

impl Embedded {
    /// Opens the file in the background, and makes it at need.
    ///
    /// # Errors
    /// When the URL is none of a file.
    pub(super) fn open(
        config: &Config,
        context: &ServiceContext,
        metrics: JobMetrics,
    ) -> Result<Arc<Self>, StartError> {
        let database =
            Database::start(&database_config(&config.stores.multivac_db), &SCHEMA, context)?;
        Ok(Arc::new(Self {
            read: database.operation("read"),
            writer: Writer::start_aside(&database, context, "write", |connection, writes| {
                Box::pin(async move { writes::all(sqlite(connection)?, writes).await })
            }),
            database,
            wake: Notify::new(),
            limits: Limits::of(&config.jobs),
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

    /// The queue and, if they are to be counted, how many data are stored; both at one moment, so that
    /// a job that moves is in one of them.
    async fn look(&self, counts_stored: bool) -> Result<(Queue, u64), Error> {
        let (length, oldest, dead_letters, stored): (u64, Option<i64>, u64, u64) = self
            .read(async |connection| {
                let look = "SELECT count(*), (SELECT created FROM jobs ORDER BY seq LIMIT 1), \
                    (SELECT count(*) FROM dead_letters), \
                    CASE WHEN ?1 THEN (SELECT count(*) FROM entropy) ELSE 0 END FROM jobs";
                sqlx::query_as(look).bind(counts_stored).fetch_one(connection).await
            })
            .await?;
        let oldest_age = oldest.map_or(Duration::ZERO, since);
        Ok((Queue { length, oldest_age, dead_letters }, stored))
    }

    /// Waits until a job may be due, up to half a second; returns whether one is.
    async fn is_due(&self) -> Result<bool, Error> {
        if timeout(LOOK, self.wake.notified()).await.is_ok() {
            return Ok(true);
        }
        let is_due = "SELECT EXISTS (SELECT 1 FROM jobs WHERE due <= ?1 OR due > ?1 + ?2)";
        let longest = self.limits.longest_back_off;
        self.read(async |connection| {
            sqlx::query_scalar(is_due).bind(now()).bind(longest).fetch_one(connection).await
        })
        .await
    }
}

#[async_trait]
impl Store for Embedded {
    async fn accept(&self, datum: &str, key: Option<&str>) -> Result<String, Error> {
        let add = Write::Add {
            datum: datum.to_owned(),
            key: key.map(str::to_owned),
            max_length: self.limits.max_length,
        };
        match self.writer.write(add).await? {
            Done::Added { seq, is_new } => {
                self.metrics.accepted.inc_by(u64::from(is_new));
                self.wake.notify_one();
                Ok(seq.to_string())
            }
            _ => Err(Error::QueueFull),
        }
    }

    async fn oldest(&self) -> Result<Option<String>, Error> {
        let oldest = "SELECT data FROM entropy ORDER BY seq LIMIT 1";
        self.read(async |connection| sqlx::query_scalar(oldest).fetch_optional(connection).await)
            .await
    }

    async fn delete_oldest(&self) -> Result<bool, Error> {
        let delete = Write::DeleteOldest { tombstone_ttl: self.limits.tombstone_ttl };
        Ok(matches!(self.writer.write(delete).await?, Done::Changed(1..)))
    }

    async fn job(&self, id: &str) -> Result<Option<Job>, Error> {
        let Some(seq) = parse(id) else { return Ok(None) };
        let found: Option<(Status, u32)> = self
            .read(async |connection| {
                let find = "SELECT 'queued', attempts FROM jobs WHERE seq = ?1 \
                    UNION ALL SELECT 'stored', 0 FROM entropy WHERE seq = ?1 \
                    UNION ALL SELECT 'deleted', 0 FROM tombstones WHERE seq = ?1 AND expires > ?2 \
                    UNION ALL SELECT 'failed', attempts FROM dead_letters WHERE seq = ?1";
                sqlx::query_as(find).bind(seq).bind(now()).fetch_optional(connection).await
            })
            .await?;
        Ok(found.map(|(status, attempts)| Job { status, attempts }))
    }

    async fn queue(&self) -> Result<Queue, Error> {
        Ok(self.look(false).await?.0)
    }

    async fn queue_and_stored(&self) -> Result<(Queue, u64), Error> {
        self.look(true).await
    }

    async fn work(&self) -> Result<(), Error> {
        if !self.is_due().await? {
            return Ok(());
        }
        let Done::Moved(moved) = self.writer.write(Write::Move(self.limits)).await? else {
            return Ok(());
        };
        self.metrics.stored.inc_by(moved.stored.len() as u64);
        for created in &moved.stored {
            self.metrics.storage_duration.observe(since(*created).as_secs_f64());
        }
        self.metrics.refused.inc_by(moved.refused);
        for (seq, reason) in &moved.dead {
            self.metrics.dead.inc();
            tracing::error!(job.id = seq, error = reason, "A job became a dead letter");
        }
        if moved.is_full() {
            self.wake.notify_one();
        }
        Ok(())
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let letters: Vec<(i64, u32, String, String)> = self
            .read(async |connection| {
                let list =
                    "SELECT seq, attempts, reason, data FROM dead_letters ORDER BY seq LIMIT ?";
                sqlx::query_as(list).bind(limit).fetch_all(connection).await
            })
            .await?;
        let letter = |(seq, attempts, reason, data): (i64, _, _, _)| DeadLetter {
            id: seq.to_string(),
            attempts,
            reason,
            data,
        };
        Ok(letters.into_iter().map(letter).collect())
    }

    async fn retry(&self, id: Option<&str>) -> Result<u64, Error> {
        let retry = match id.map(parse) {
            Some(None) => return Ok(0),
            Some(seq) => Write::Retry { seq },
            None => Write::Retry { seq: None },
        };
        match self.writer.write(retry).await? {
            Done::Changed(count) => Ok(count),
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
        Connection::Postgres(_) => Err(sqlx::Error::protocol("only a file is known here")),
    }
}

/// Milliseconds since 1970.
fn now() -> i64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

fn since(time: i64) -> Duration {
    Duration::from_millis((now() - time).max(0).unsigned_abs())
}
