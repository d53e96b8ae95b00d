//! The jobs that wait, in a stream of Redis.
//!
//! All workers are one consumer of one group. An acknowledged job leaves the stream at once, so that the stream holds
//! what is pending or undelivered and nothing else.

use std::time::Duration;

use nosql::redis::Connections;
use nosql::script::Script;
use nosql::spans::{Destination, operation};
use nosql::stream::{ConsumerGroup, GroupConfig};
use redis::pipe;
use redis::streams::StreamRangeReply;
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

static ACKNOWLEDGE: Script = Script::new(include_str!("acknowledge.lua"));
static REFUSE: Script = Script::new(include_str!("refuse.lua"));
static FIND: Script = Script::new(include_str!("find.lua"));

/// The queue; clones share its state.
#[derive(Clone)]
pub(super) struct JobQueue {
    redis: Connections,
    group: ConsumerGroup,
    config: JobsConfig,
}

impl JobQueue {
    pub(super) fn new(redis: Connections, config: JobsConfig) -> Self {
        let group = GroupConfig {
            stream: JOBS,
            group: GROUP,
            consumer: CONSUMER,
            batch: BATCH,
            claim_after: config.job_claim_after,
        };
        Self { group: ConsumerGroup::new(redis.clone(), group), redis, config }
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
        let (entries, ids): (Vec<_>, Vec<_>) =
            jobs.clone().map(|job| (&job.stream_id, &job.id)).unzip();
        let acknowledge = ACKNOWLEDGE.run(&self.redis, &[JOBS, ATTEMPTS], (GROUP, entries, ids));
        let now: i64 = acknowledge.instrument(QUEUE.settle()).await?;
        Ok(jobs.map(move |job| Duration::from_millis(now.abs_diff(job.created))))
    }

    /// Counts an attempt that the store refused; returns whether the job has become a dead letter.
    pub(super) async fn refuse(&self, job: &Entry, reason: &str) -> Result<bool, Error> {
        self.count_refusal((&job.stream_id, &job.id), reason, self.config.job_max_attempts.get())
            .await
    }

    /// Makes a dead letter of an entry that is no job; returns whether it was still there.
    pub(super) async fn reject(&self, entry: &InvalidEntry) -> Result<bool, Error> {
        self.count_refusal((&entry.stream_id, &entry.stream_id), entry.reason, 1).await
    }

    /// Counts a refused attempt of a job, given the id of its entry in the stream and its own. At `max_attempts` the job
    /// becomes a dead letter; returns whether it has.
    async fn count_refusal(
        &self,
        (entry, job): (&str, &str),
        reason: &str,
        max_attempts: u32,
    ) -> Result<bool, Error> {
        let keys = [JOBS, ATTEMPTS, DEAD_LETTERS, DEAD_LETTERS_BY_JOB];
        let back_off = (FIRST_BACK_OFF.as_millis(), self.config.job_claim_after.as_millis());
        let refusal = (GROUP, CONSUMER, entry, job, reason, max_attempts, back_off);
        Ok(REFUSE.run(&self.redis, &keys, refusal).await?)
    }

    /// A job that is not stored.
    pub(super) async fn job(&self, id: &str) -> Result<Option<Job>, Error> {
        if created(id).is_none() {
            return Ok(None);
        }
        let find = FIND.run(&self.redis, &[JOBS, ATTEMPTS, DEAD_LETTERS_BY_JOB], id);
        let span = operation("redis", "EVALSHA", None);
        let found: Option<(bool, u32)> = find.instrument(span).await?;
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
