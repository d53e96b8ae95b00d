//! The jobs that wait, in a stream of Redis.
//!
//! All workers are one consumer of one group: who holds an entry does not matter, only how long ago it
//! was delivered, by Redis's own clock. An acknowledged job leaves the stream at once, so that the stream
//! holds what is pending or undelivered and nothing else.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use nosql::redis::{BLOCK_TIMEOUT, Connections};
use redis::streams::{
    StreamAutoClaimOptions, StreamAutoClaimReply, StreamId, StreamRangeReply, StreamReadOptions,
    StreamReadReply,
};
use redis::{AsyncCommands as _, RedisResult, Script, pipe};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::entry::{Entry, InvalidEntry, created};
use super::keys::{ATTEMPTS, DEAD_LETTERS, DEAD_LETTERS_BY_JOB, GROUP, JOBS};
use crate::config::JobsConfig;
use crate::error::Error;
use crate::spans::{Destination, operation};
use crate::store::interface::{FIRST_BACK_OFF, Job, QueueState, Status};

const CONSUMER: &str = "worker";

/// The queue and the dead letters in spans.
pub(super) const QUEUE: Destination = Destination { system: "redis", name: JOBS };
pub(super) const DEAD_LETTER_QUEUE: Destination =
    Destination { system: "redis", name: DEAD_LETTERS };

/// Jobs that are taken at once: with bodies of the default size limit, 16 MiB.
const BATCH: usize = 256;

/// How often a worker claims jobs that others have held for too long.
const CLAIM_INTERVAL: Duration = Duration::from_secs(1);

static ACKNOWLEDGE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("acknowledge.lua")));
static REFUSE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("refuse.lua")));
static FIND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("find.lua")));

/// The queue; clones share its state.
#[derive(Clone)]
pub(super) struct JobQueue {
    redis: Connections,
    next_claim: Arc<Mutex<Instant>>,
    claim_after: Duration,
    max_attempts: u32,
}

impl JobQueue {
    pub(super) fn new(redis: Connections, config: &JobsConfig) -> Self {
        Self {
            redis,
            next_claim: Arc::new(Mutex::new(Instant::now())),
            claim_after: config.job_claim_after,
            max_attempts: config.job_max_attempts.get(),
        }
    }

    /// Takes the next jobs, first those that others have held for too long. If there are none, it waits for
    /// some, up to half a second.
    /// Entries that are no jobs come apart.
    pub(super) async fn take(&self) -> Result<(Vec<Entry>, Vec<InvalidEntry>), Error> {
        let taken = match self.claim().await {
            Ok(claimed) if claimed.is_empty() => self.read().await,
            claimed => claimed,
        };
        match taken {
            Ok(entries) => Ok(Entry::parse_all(&entries)),
            Err(error) if error.code() == Some("NOGROUP") => {
                self.create_group().await?;
                Ok((Vec::new(), Vec::new()))
            }
            Err(error) => {
                // The two connections may lead to different nodes.
                self.redis.reconnect_if_not_primary(&error)?;
                Err(error.into())
            }
        }
    }

    /// Takes over jobs that others have held for too long.
    async fn claim(&self) -> RedisResult<Vec<StreamId>> {
        let mut next_claim = self.next_claim.lock().await;
        if Instant::now() < *next_claim {
            return Ok(Vec::new());
        }
        let idle = milliseconds(self.claim_after);
        let (mut cursor, mut redis) = ("0-0".to_owned(), self.redis.commands());
        loop {
            let options = StreamAutoClaimOptions::default().count(BATCH);
            let reply: StreamAutoClaimReply =
                redis.xautoclaim_options(JOBS, GROUP, CONSUMER, idle, &cursor, options).await?;
            if !reply.claimed.is_empty() {
                return Ok(reply.claimed);
            }
            cursor = reply.next_stream_id;
            if cursor == "0-0" {
                *next_claim = Instant::now() + CLAIM_INTERVAL;
                return Ok(Vec::new());
            }
        }
    }

    async fn read(&self) -> RedisResult<Vec<StreamId>> {
        let options = StreamReadOptions::default()
            .group(GROUP, CONSUMER)
            .count(BATCH)
            .block(BLOCK_TIMEOUT.subsec_millis() as usize);
        let reply: Option<StreamReadReply> =
            self.redis.reads().xread_options(&[JOBS], &[">"], &options).await?;
        Ok(reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids).collect())
    }

    /// Creates the group, from the first entry on: what is in the stream is not acknowledged.
    async fn create_group(&self) -> RedisResult<()> {
        match self.redis.commands().xgroup_create_mkstream(JOBS, GROUP, "0").await {
            Err(error) if error.code() == Some("BUSYGROUP") => Ok(()),
            created => created,
        }
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
        self.refuse_up_to(self.max_attempts, (&job.stream_id, &job.id), reason).await
    }

    /// Makes a dead letter of an entry that is no job; returns whether it was still there.
    pub(super) async fn reject(&self, entry: &InvalidEntry) -> Result<bool, Error> {
        self.refuse_up_to(1, (&entry.stream_id, &entry.stream_id), entry.reason).await
    }

    async fn refuse_up_to(
        &self,
        max_attempts: u32,
        (entry_id, id): (&str, &str),
        reason: &str,
    ) -> Result<bool, Error> {
        let mut refuse = REFUSE.key(JOBS);
        refuse.key(ATTEMPTS).key(DEAD_LETTERS).key(DEAD_LETTERS_BY_JOB).arg(GROUP).arg(CONSUMER);
        refuse.arg(entry_id).arg(id).arg(reason).arg(max_attempts);
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

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
