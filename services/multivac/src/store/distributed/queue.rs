//! The jobs, in streams of Redis.
//!
//! All workers are one consumer of one group: who holds an entry does not matter, only how long ago it
//! was handed out, by Redis's own clock. A settled job leaves the stream at once, so that the stream
//! holds what is pending or undelivered and nothing else.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::streams::{
    StreamAutoClaimOptions, StreamAutoClaimReply, StreamId, StreamRangeReply, StreamReadOptions,
    StreamReadReply,
};
use redis::{
    AsyncCommands as _, IntoConnectionInfo as _, RedisError, RedisResult, Script, cmd, pipe,
};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::config::JobsConfig;
use crate::error::Error;
use crate::store::{DeadLetter, FIRST_BACK_OFF, Job, Queue, Status};

/// The jobs that wait. The braces keep all keys in one slot of a cluster.
pub(super) const JOBS: &str = "{multivac}:jobs";

/// The number of the job that was accepted last.
pub(super) const SEQ: &str = "{multivac}:seq";

/// How often the store has refused a job, for those it has; also for what was a dead letter.
const ATTEMPTS: &str = "{multivac}:attempts";

/// The dead letters.
const DEAD: &str = "{multivac}:dead-letters";

/// Which dead letter a job is.
const DEAD_BY_JOB: &str = "{multivac}:dead-letters:by-job";

/// What a client's key is remembered under.
pub(super) const KEY_PREFIX: &str = "{multivac}:idempotency:";

const GROUP: &str = "workers";
const CONSUMER: &str = "worker";

/// How many jobs are taken at once: with bodies as large as they may be by default, 16 MiB.
const BATCH: usize = 256;

/// How long a worker waits for a job before it looks around.
const BLOCK: Duration = Duration::from_millis(500);

/// How often a worker looks for jobs that others do not settle.
const CLAIM_INTERVAL: Duration = Duration::from_secs(1);

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(3);

static SETTLE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("settle.lua")));
static REFUSE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("refuse.lua")));
static FIND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("find.lua")));
static RETRY: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("retry.lua")));

/// The queue; clones share its connections.
#[derive(Clone)]
pub(super) struct JobQueue {
    shared: ConnectionManager,
    /// Reads that wait would hold up all others on their connection.
    reader: ConnectionManager,
    next_claim: Arc<Mutex<Instant>>,
    claim_after: Duration,
    max_attempts: u32,
}

/// A job that was handed out.
pub(super) struct Entry {
    /// Where it is in the stream: for a retried dead letter not where the job was at first.
    place: String,
    /// The job's id: where it was in the stream at first.
    pub(super) id: String,
    pub(super) seq: i64,
    pub(super) data: String,
    /// When it was accepted by Redis's clock, in milliseconds since 1970.
    pub(super) created: i64,
}

impl JobQueue {
    /// Connects when it is first needed.
    ///
    /// # Errors
    /// When the URL is none.
    pub(super) fn open(url: &str, config: &JobsConfig) -> RedisResult<Self> {
        let tcp = TcpSettings::default().set_nodelay(true);
        // Else a host that is gone without a word would be waited for, for a quarter of an hour.
        #[cfg(target_os = "linux")]
        let tcp = tcp.set_user_timeout(TIMEOUT);
        let client = redis::Client::open(url.into_connection_info()?.set_tcp_settings(tcp))?;
        let connect = |timeout| {
            let config = ConnectionManagerConfig::new()
                // Who asks fails at once; the next one who does connects anew.
                .set_number_of_retries(0)
                .set_connection_timeout(Some(TIMEOUT))
                .set_response_timeout(Some(timeout));
            ConnectionManager::new_lazy_with_config(client.clone(), config)
        };
        Ok(Self {
            shared: connect(TIMEOUT)?,
            reader: connect(BLOCK + TIMEOUT)?,
            next_claim: Arc::new(Mutex::new(Instant::now())),
            claim_after: config.job_claim_after,
            max_attempts: config.job_max_attempts.get(),
        })
    }

    /// The connection that commands share which wait for nothing.
    pub(super) fn shared(&self) -> ConnectionManager {
        self.shared.clone()
    }

    /// Whether Redis answers.
    pub(super) async fn check(&self) -> Result<(), Error> {
        Ok(cmd("PING").exec_async(&mut self.shared.clone()).await?)
    }

    /// Takes the next jobs, first those that others hold for too long. If there are none, it waits for
    /// some, up to half a second.
    pub(super) async fn take(&self) -> Result<Vec<Entry>, Error> {
        let taken = match self.claim().await {
            Ok(claimed) if claimed.is_empty() => self.read().await,
            claimed => claimed,
        };
        match taken {
            Ok(entries) => Ok(entries.iter().filter_map(Entry::parse).collect()),
            Err(error) if error.code() == Some("NOGROUP") => {
                self.make_group().await?;
                Ok(Vec::new())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes over what others hold for too long.
    async fn claim(&self) -> RedisResult<Vec<StreamId>> {
        let mut next_claim = self.next_claim.lock().await;
        if Instant::now() < *next_claim {
            return Ok(Vec::new());
        }
        let idle = milliseconds(self.claim_after);
        let (mut cursor, mut connection) = ("0-0".to_owned(), self.shared.clone());
        loop {
            let options = StreamAutoClaimOptions::default().count(BATCH);
            let reply: StreamAutoClaimReply = connection
                .xautoclaim_options(JOBS, GROUP, CONSUMER, idle, &cursor, options)
                .await?;
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
            .block(BLOCK.subsec_millis() as usize);
        let reply: Option<StreamReadReply> =
            self.reader.clone().xread_options(&[JOBS], &[">"], &options).await?;
        Ok(reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids).collect())
    }

    /// Makes the group, from the first entry on: what is in the stream is not settled.
    async fn make_group(&self) -> RedisResult<()> {
        match self.shared.clone().xgroup_create_mkstream(JOBS, GROUP, "0").await {
            Err(error) if is_busy_group(&error) => Ok(()),
            made => made,
        }
    }

    /// Takes stored jobs out of the queue; returns how long each has waited since it was accepted.
    pub(super) async fn settle<'a>(
        &self,
        jobs: impl Iterator<Item = &'a Entry> + Clone,
    ) -> Result<impl Iterator<Item = Duration>, Error> {
        let mut settle = SETTLE.key(JOBS);
        settle.key(ATTEMPTS).arg(GROUP);
        for job in jobs.clone() {
            settle.arg(&job.place).arg(&job.id);
        }
        let now: i64 = settle.invoke_async(&mut self.shared.clone()).await?;
        Ok(jobs.map(move |job| Duration::from_millis(now.abs_diff(job.created))))
    }

    /// Notes that the store refuses a job; returns whether it has become a dead letter.
    pub(super) async fn refuse(&self, job: &Entry, reason: &str) -> Result<bool, Error> {
        let mut refuse = REFUSE.key(JOBS);
        refuse.key(ATTEMPTS).key(DEAD).key(DEAD_BY_JOB).arg(GROUP).arg(CONSUMER);
        refuse.arg(&job.place).arg(&job.id).arg(reason).arg(self.max_attempts);
        refuse.arg(milliseconds(FIRST_BACK_OFF)).arg(milliseconds(self.claim_after));
        Ok(refuse.invoke_async(&mut self.shared.clone()).await?)
    }

    /// How a job is that is not stored.
    pub(super) async fn job(&self, id: &str) -> Result<Option<Job>, Error> {
        if created(id).is_none() {
            return Ok(None);
        }
        let mut find = FIND.key(JOBS);
        find.key(ATTEMPTS).key(DEAD_BY_JOB).arg(id);
        let found: Option<(bool, u32)> = find.invoke_async(&mut self.shared.clone()).await?;
        Ok(found.map(|(dead, attempts)| Job {
            status: if dead { Status::Failed } else { Status::Queued },
            attempts,
        }))
    }

    /// How the queue is.
    pub(super) async fn look(&self) -> Result<Queue, Error> {
        let (length, oldest, dead_letters, (seconds, _)): (_, StreamRangeReply, _, (i64, i64)) =
            pipe()
                .xlen(JOBS)
                .xrange_count(JOBS, "-", "+", 1)
                .xlen(DEAD)
                .cmd("TIME")
                .query_async(&mut self.shared.clone())
                .await?;
        let waited = oldest.ids.first().and_then(|oldest| created(&oldest.id));
        let waited = waited.map_or(0, |created| (seconds * 1000 - created).max(0));
        let oldest_age = Duration::from_millis(waited.unsigned_abs());
        Ok(Queue { length, oldest_age, dead_letters })
    }

    /// The oldest dead letters.
    pub(super) async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        let reply: StreamRangeReply =
            self.shared.clone().xrange_count(DEAD, "-", "+", limit).await?;
        let letter = |entry: &StreamId| {
            Some(DeadLetter {
                id: entry.get("id")?,
                attempts: entry.get("attempts")?,
                reason: entry.get("reason")?,
                data: entry.get("data")?,
            })
        };
        Ok(reply.ids.iter().filter_map(letter).collect())
    }

    /// Queues dead letters anew; returns how many.
    pub(super) async fn retry(&self, id: Option<&str>) -> Result<u64, Error> {
        if let Some(id) = id {
            return self.retry_one(id).await;
        }
        let mut count = 0;
        loop {
            let before = count;
            for letter in self.dead_letters(BATCH).await? {
                count += self.retry_one(&letter.id).await?;
            }
            if count == before {
                return Ok(count);
            }
        }
    }

    async fn retry_one(&self, id: &str) -> Result<u64, Error> {
        let mut retry = RETRY.key(JOBS);
        retry.key(ATTEMPTS).key(DEAD).key(DEAD_BY_JOB).arg(id);
        Ok(retry.invoke_async(&mut self.shared.clone()).await?)
    }
}

impl Entry {
    /// None for what no server of ours has added.
    fn parse(entry: &StreamId) -> Option<Self> {
        let id = entry.get("id").unwrap_or_else(|| entry.id.clone());
        Some(Self {
            created: created(&id)?,
            seq: entry.get("seq")?,
            data: entry.get("data")?,
            place: entry.id.clone(),
            id,
        })
    }
}

/// The time in a job's id; none if it cannot be one.
fn created(id: &str) -> Option<i64> {
    let (time, number) = id.split_once('-')?;
    let (time, number): (i64, u64) = (time.parse().ok()?, number.parse().ok()?);
    // A job has one id: no signs and no leading zeros.
    (format!("{time}-{number}") == id && time >= 0).then_some(time)
}

fn is_busy_group(error: &RedisError) -> bool {
    error.code() == Some("BUSYGROUP")
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
