//! What both implementations offer.

use std::time::Duration;

use async_trait::async_trait;

use crate::error::Error;

/// How long an idempotency key is remembered.
pub(crate) const KEY_TTL: Duration = Duration::from_hours(24);

/// How long after its first refusal a job is tried again; each time twice as long, but at most
/// `JOB_CLAIM_AFTER`.
pub(crate) const FIRST_BACK_OFF: Duration = Duration::from_secs(1);

/// A queue of jobs and the store that their data go to.
///
/// A job that was accepted is stored exactly once or becomes a dead letter. A datum that was deleted
/// stays deleted.
#[async_trait]
pub(crate) trait Store: Send + Sync {
    /// Queues a datum durably and returns the id of its job, or of the job that has the same idempotency
    /// key.
    async fn add(&self, datum: &str, key: Option<&str>) -> Result<String, Error>;

    /// The oldest datum, by the order of acceptance.
    async fn oldest(&self) -> Result<Option<String>, Error>;

    /// Deletes the oldest datum; returns whether there was one.
    async fn delete_oldest(&self) -> Result<bool, Error>;

    /// A job by its id.
    async fn job(&self, id: &str) -> Result<Option<Job>, Error>;

    /// The state of the queue.
    async fn queue(&self) -> Result<QueueState, Error>;

    /// The state of the queue, and how many data are stored, an estimate if they are many.
    async fn queue_and_stored(&self) -> Result<(QueueState, u64), Error>;

    /// Stores the next jobs. If none waits, it waits for some, up to half a second.
    async fn store_next(&self) -> Result<(), Error>;

    /// The oldest dead letters, at most that many.
    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, Error>;

    /// Queues dead letters again, one or all; returns how many.
    async fn retry(&self, id: Option<&str>) -> Result<u64, Error>;
}

/// A job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) status: Status,
    /// How often the store has refused it.
    pub(crate) attempts: u32,
}

/// The status of a job.
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

/// The state of the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct QueueState {
    /// Jobs that wait.
    pub(crate) length: u64,
    /// How long the oldest of them has waited.
    pub(crate) oldest_age: Duration,
    /// Dead letters there are.
    pub(crate) dead_letters: u64,
}

/// A job that the store has refused too often.
#[derive(Clone, Debug, serde::Serialize, sqlx::FromRow)]
pub(crate) struct DeadLetter {
    pub(crate) id: String,
    pub(crate) attempts: u32,
    /// Why it was refused the last time.
    pub(crate) reason: String,
    pub(crate) data: String,
}
