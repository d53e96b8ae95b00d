//! A consumer group of a stream of Redis, whose members are all one consumer.
//!
//! Who holds an entry does not matter, only how long ago it was delivered, by Redis's own clock.

use std::sync::Arc;
use std::time::Duration;

use ::redis::streams::{
    StreamAutoClaimOptions, StreamAutoClaimReply, StreamId, StreamReadOptions, StreamReadReply,
};
use ::redis::{AsyncCommands as _, RedisResult};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::redis::{BLOCK_TIMEOUT, Connections};

/// How often a consumer claims entries that others have held for too long.
const CLAIM_INTERVAL: Duration = Duration::from_secs(1);

/// The names in Redis, and how entries are taken.
#[derive(Clone, Copy, Debug)]
pub struct GroupConfig {
    /// The stream's key.
    pub stream: &'static str,
    /// The group's name.
    pub group: &'static str,
    /// The name of all its consumers.
    pub consumer: &'static str,
    /// Entries that are taken at once, at most.
    pub batch: usize,
    /// How long a consumer may hold an entry before others take it over.
    pub claim_after: Duration,
}

/// Takes entries of a stream; clones share its state.
#[derive(Clone, Debug)]
pub struct ConsumerGroup {
    redis: Connections,
    config: GroupConfig,
    next_claim: Arc<Mutex<Instant>>,
}

impl ConsumerGroup {
    /// The group of this name, which is created when it is missing.
    #[must_use]
    pub fn new(redis: Connections, config: GroupConfig) -> Self {
        Self { redis, config, next_claim: Arc::new(Mutex::new(Instant::now())) }
    }

    /// Takes the next entries, first those that others have held for too long. If there are none, it waits for some,
    /// up to [`BLOCK_TIMEOUT`].
    ///
    /// # Errors
    /// When Redis fails. Where the node is not the primary, the next call is to another one.
    pub async fn take(&self) -> RedisResult<Vec<StreamId>> {
        let taken = match self.claim().await {
            Ok(claimed) if claimed.is_empty() => self.read().await,
            claimed => claimed,
        };
        match taken {
            Err(error) if error.code() == Some("NOGROUP") => {
                self.create().await?;
                Ok(Vec::new())
            }
            Err(error) => {
                // The two connections may lead to different nodes.
                self.redis.reconnect_if_not_primary(&error)?;
                Err(error)
            }
            taken => taken,
        }
    }

    /// Takes over entries that others have held for too long.
    async fn claim(&self) -> RedisResult<Vec<StreamId>> {
        let mut next_claim = self.next_claim.lock().await;
        if Instant::now() < *next_claim {
            return Ok(Vec::new());
        }
        let GroupConfig { stream, group, consumer, batch, claim_after } = self.config;
        let idle = u64::try_from(claim_after.as_millis()).unwrap_or(u64::MAX);
        let (mut cursor, mut redis) = ("0-0".to_owned(), self.redis.commands());
        loop {
            let options = StreamAutoClaimOptions::default().count(batch);
            let reply: StreamAutoClaimReply =
                redis.xautoclaim_options(stream, group, consumer, idle, &cursor, options).await?;
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
        let GroupConfig { stream, group, consumer, batch, .. } = self.config;
        let options = StreamReadOptions::default()
            .group(group, consumer)
            .count(batch)
            .block(BLOCK_TIMEOUT.subsec_millis() as usize);
        let reply: Option<StreamReadReply> =
            self.redis.reads().xread_options(&[stream], &[">"], &options).await?;
        Ok(reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids).collect())
    }

    /// Creates the group, from the first entry on: what is in the stream is not acknowledged.
    async fn create(&self) -> RedisResult<()> {
        let GroupConfig { stream, group, .. } = self.config;
        match self.redis.commands().xgroup_create_mkstream(stream, group, "0").await {
            Err(error) if error.code() == Some("BUSYGROUP") => Ok(()),
            created => created,
        }
    }
}
