//! The order of jobs, which outlives the Redis that numbers them.
//!
//! Redis numbers jobs from 1 on. A Redis that was replaced by an empty one, or has lost its last writes,
//! numbers from below what is stored: its numbers are raised by an offset, and its ids to above the stored
//! ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nosql::redis::Connections;
use nosql::script::Script;
use redis::{AsyncCommands as _, RedisResult};

use super::entropy::Entropy;
use super::keys::{GROUP, JOBS, OFFSET, SEQ};
use crate::error::Error;

static CONTINUE: Script = Script::new(include_str!("continue.lua"));

/// The order of jobs; clones share its state.
#[derive(Clone)]
pub(super) struct Order {
    redis: Connections,
    entropy: Entropy,
    /// Whether it was aligned since the last error. A store that fails may come back as another one, or
    /// without its last writes.
    is_aligned: Arc<AtomicBool>,
}

impl Order {
    pub(super) fn new(redis: Connections, entropy: Entropy) -> Self {
        Self { redis, entropy, is_aligned: Arc::default() }
    }

    /// Has the order aligned before it is next relied on: a store has failed.
    pub(super) fn invalidate(&self) {
        self.is_aligned.store(false, Ordering::Relaxed);
    }

    /// Aligns the order before jobs are added, if a store has failed since. While MongoDB cannot be reached
    /// that is left to the worker.
    pub(super) async fn prepare(&self) -> RedisResult<()> {
        if self.is_aligned.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        match self.align().await {
            Err(Error::Queue(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// What is added to a job's number.
    pub(super) async fn offset(&self) -> Result<i64, Error> {
        if self.is_aligned.load(Ordering::Relaxed) {
            let offset: Option<String> = self.redis.commands().get(OFFSET).await?;
            if let Some(offset) = offset.and_then(|offset| offset.parse().ok()) {
                return Ok(offset);
            }
        }
        let offset = self.align().await?;
        self.is_aligned.store(true, Ordering::Relaxed);
        Ok(offset)
    }

    /// Numbers jobs to come above what is stored: sets the offset, and the stream's next id. Returns the offset.
    pub(super) async fn align(&self) -> Result<i64, Error> {
        let (seq, time) = self.entropy.latest().await?;
        Ok(CONTINUE.run(&self.redis, &[JOBS, SEQ, OFFSET], (GROUP, seq, time)).await?)
    }
}
