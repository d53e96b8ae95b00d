//! The jobs that wait, in a stream of Redis.
//!
//! All workers are one consumer of one group. An acknowledged job leaves the stream at once, so that the stream holds
//! what is pending or undelivered and nothing else.

use std::sync::LazyLock;
use std::time::Duration;

use nosql::redis::Connections;
use nosql::spans::{Destination, operation};
use nosql::stream::{ConsumerGroup, GroupConfig};
use redis::streams::StreamRangeReply;
use redis::{Script, pipe};
use tracing::Instrument as _;

use super::entry::{Entry, InvalidEntry, created};
use super::keys::{ATTEMPTS, DEAD_LETTERS, DEAD_LETTERS_BY_JOB, GROUP, JOBS};
use crate::config::JobsConfig;
use crate::error::Error;
use crate::store::interface::{FIRST_BACK_OFF, Job, QueueState, Status};

const CONSUMER: &str = "worker";

/// The queue and the dead letters in spans.
pub(super) const QUEUE: Destination = Destination { system: "redis", name: JOBS };
pub(super) const DEAD_LETTER_QUEUE: Destination =
    Destination { system: "redis", name: DEAD_LETTERS };

/// Jobs that are taken at once: with bodies of the default size limit, 16 MiB.
const BATCH: usize = 256;

static ACKNOWLEDGE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("acknowledge.lua")));
static REFUSE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("refuse.lua")));
static FIND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("find.lua")));

/// The queue; clones share its state.
#[derive(Clone)]
pub(super) struct JobQueue {
    redis: Connections,
    group: ConsumerGroup,
    claim_after: Duration,
    max_attempts: u32,
}

impl JobQueue {
    pub(super) fn new(redis: Connections, config: &JobsConfig) -> Self {
        let claim_after = config.job_claim_after;
        let group = GroupConfig {
            stream: JOBS,
            group: GROUP,
            consumer: CONSUMER,
            batch: BATCH,
            claim_after,
        };
        Self {
            group: ConsumerGroup::new(redis.clone(), group),
            redis,
            claim_after,
            max_attempts: config.job_max_attempts.get(),
        }
    }

    /// Takes the next jobs, first those that others have held for too long. If there are none, it waits for
    /// some, up to half a second.
    /// Entries that are no jobs come apart.
    pub(super) async fn take(&self) -> Result<(Vec<Entry>, Vec<InvalidEntry>), Error> {
        Ok(Entry::parse_all(&self.group.take().await?))
    }

    /// Takes stored jobs out of the queue; returns how long each has waited since it was accepted.
    pub(super) async fn acknowledge<'a>(
        &self,
        jobs: impl Iterator<Item = &'a Entry> + Clone,
    ) -> Result<impl Iterator<Item = Duration>, Error> {
        let mut acknowledge = ACKNOWLEDGE.key(JOBS);
        acknowledge.key(ATTEMPTS).arg(GROUP);
        for job in jobs.clone() {
            acknowledge.arg(&job.stream_id).arg(&job.id);
        }
        let mut redis = self.redis.commands();
        let now: i64 = acknowledge.invoke_async(&mut redis).instrument(QUEUE.settle()).await?;
        Ok(jobs.map(move |job| Duration::from_millis(now.abs_diff(job.created))))
    }

    /// Counts an attempt that the store refused; returns whether the job has become a dead letter.
    pub(super) async fn refuse(&self, job: &Entry, reason: &str) -> Result<bool, Error> {
        let (entry, job) = (&job.stream_id, &job.id);
        self.run_refuse(Refusal { entry, job, reason, max_attempts: self.max_attempts }).await
    }

    /// Makes a dead letter of an entry that is no job; returns whether it was still there.
    pub(super) async fn reject(&self, entry: &InvalidEntry) -> Result<bool, Error> {
        let InvalidEntry { stream_id, reason } = entry;
        let refusal = Refusal { entry: stream_id, job: stream_id, reason, max_attempts: 1 };
        self.run_refuse(refusal).await
    }

    async fn run_refuse(&self, refusal: Refusal<'_>) -> Result<bool, Error> {
        let Refusal { entry, job, reason, max_attempts } = refusal;
        let mut refuse = REFUSE.key(JOBS);
        refuse.key(ATTEMPTS).key(DEAD_LETTERS).key(DEAD_LETTERS_BY_JOB).arg(GROUP).arg(CONSUMER);
        refuse.arg(entry).arg(job).arg(reason).arg(max_attempts);
        refuse.arg(milliseconds(FIRST_BACK_OFF)).arg(milliseconds(self.claim_after));
        Ok(refuse.invoke_async(&mut self.redis.commands()).await?)
    }

    /// A job that is not stored.
    pub(super) async fn job(&self, id: &str) -> Result<Option<Job>, Error> {
        if created(id).is_none() {
            return Ok(None);
        }
        let mut find = FIND.key(JOBS);
        find.key(ATTEMPTS).key(DEAD_LETTERS_BY_JOB).arg(id);
        let (mut redis, span) = (self.redis.commands(), operation("redis", "EVALSHA", None));
        let found: Option<(bool, u32)> = find.invoke_async(&mut redis).instrument(span).await?;
        Ok(found.map(|(dead, attempts)| Job {
            status: if dead { Status::Failed } else { Status::Queued },
            attempts,
        }))
    }

    /// The state of the queue.
    pub(super) async fn state(&self) -> Result<QueueState, Error> {
        let (length, oldest, dead_letters, (seconds, _)): (_, StreamRangeReply, _, (i64, i64)) =
            pipe()
                .xlen(JOBS)
                .xrange_count(JOBS, "-", "+", 1)
                .xlen(DEAD_LETTERS)
                .cmd("TIME")
                .query_async(&mut self.redis.commands())
                .instrument(operation("redis", "PIPELINE", None))
                .await?;
        let waited = oldest.ids.first().and_then(|oldest| created(&oldest.id));
        let waited = waited.map_or(0, |created| (seconds * 1000 - created).max(0));
        let oldest_age = Duration::from_millis(waited.unsigned_abs());
        Ok(QueueState { length, oldest_age, dead_letters })
    }
}

/// An attempt that was refused.
struct Refusal<'a> {
    /// The id of the entry in the stream.
    entry: &'a str,
    /// The job's id.
    job: &'a str,
    reason: &'a str,
    /// With as many, the job becomes a dead letter.
    max_attempts: u32,
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
