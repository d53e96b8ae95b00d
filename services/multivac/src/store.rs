//! Where jobs wait and data are kept.

mod distributed;
mod embedded;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use common::ServiceContext;
use server::StartError;

use crate::config::Config;
use crate::error::Error;
use crate::metrics::JobMetrics;
use distributed::Distributed;
use embedded::Embedded;

pub(crate) use embedded::database_config;

/// How long a client's key is remembered.
const KEY_TTL: Duration = Duration::from_hours(24);

/// How long after its first refusal a job is tried again; each time twice as long, but at most
/// `JOB_CLAIM_AFTER`.
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);

/// The stores that are configured, with their readiness checks. Connects when they are needed.
///
/// # Errors
/// When a URL cannot be used.
pub(crate) fn open(
    config: &Config,
    context: &ServiceContext,
    metrics: JobMetrics,
) -> Result<Arc<dyn Store>, StartError> {
    match (&config.stores.redis_url, &config.stores.mongo_url) {
        (Some(redis), Some(mongo)) => {
            Ok(Distributed::open(redis.expose(), mongo.expose(), config, context, metrics)?)
        }
        _ => Ok(Embedded::open(config, context, metrics)?),
    }
}

/// A queue of jobs and the store that their data go to.
///
/// A job that was accepted is stored exactly once or becomes a dead letter. A datum that was deleted
/// stays deleted.
#[async_trait]
pub(crate) trait Store: Send + Sync {
    /// Queues a datum durably and returns its job; with a key that is known, the job it was used for.
    async fn accept(&self, datum: &str, key: Option<&str>) -> Result<String, Error>;

    /// The oldest datum, by the order of acceptance.
    async fn oldest(&self) -> Result<Option<String>, Error>;

    /// Deletes the oldest datum; returns whether there was one.
    async fn delete_oldest(&self) -> Result<bool, Error>;

    /// How a job is.
    async fn job(&self, id: &str) -> Result<Option<Job>, Error>;

    /// How the queue is.
    async fn queue(&self) -> Result<Queue, Error>;

    /// How the queue is, and how many data there are, roughly if there are many.
    async fn queue_and_stored(&self) -> Result<(Queue, u64), Error>;

    /// Stores the next jobs that wait. If none does, it waits for some, up to half a second.
    async fn work(&self) -> Result<(), Error>;

    /// The oldest dead letters, at most that many.
    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, Error>;

    /// Queues dead letters anew, one or all; returns how many.
    async fn retry(&self, id: Option<&str>) -> Result<u64, Error>;
}

/// A job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) status: Status,
    /// How often the store has refused it.
    pub(crate) attempts: u32,
}

/// Where a job has got to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, sqlx::Type, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(rename_all = "lowercase")]
pub(crate) enum Status {
    /// It waits.
    Queued,
    /// Its datum is stored.
    Stored,
    /// Its datum was stored and deleted.
    Deleted,
    /// It is a dead letter.
    Failed,
}

/// The queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Queue {
    /// Jobs that wait.
    pub(crate) length: u64,
    /// How long the oldest of them has waited.
    pub(crate) oldest_age: Duration,
    /// Dead letters there are.
    pub(crate) dead_letters: u64,
}

/// A job that the store has refused too often.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct DeadLetter {
    pub(crate) id: String,
    pub(crate) attempts: u32,
    /// Why it was refused the last time.
    pub(crate) reason: String,
    pub(crate) data: String,
}
