//! Jobs that were refused too often, in a stream of Redis.

use nosql::redis::Connections;
use nosql::script::Script;
use redis::AsyncCommands as _;
use redis::streams::{StreamId, StreamRangeReply};

use super::keys::{ATTEMPTS, DEAD_LETTERS, DEAD_LETTERS_BY_JOB, JOBS, SEQ};
use crate::error::Error;
use crate::store::interface::DeadLetter;

/// Dead letters that are read at once when all are queued again.
const BATCH: usize = 256;

static RETRY: Script = Script::new(include_str!("retry.lua"));

/// The oldest ones.
pub(super) async fn list(redis: &Connections, limit: usize) -> Result<Vec<DeadLetter>, Error> {
    let reply: StreamRangeReply =
        redis.commands().xrange_count(DEAD_LETTERS, "-", "+", limit).await?;
    Ok(reply.ids.iter().filter_map(parse).collect())
}

fn parse(entry: &StreamId) -> Option<DeadLetter> {
    Some(DeadLetter {
        id: entry.get("id")?,
        attempts: entry.get("attempts")?,
        reason: entry.get("reason")?,
        // That of an entry that was no job may be anything.
        data: String::from_utf8_lossy(&entry.get::<Vec<u8>>("data")?).into_owned(),
    })
}

/// Queues one of them again, or all; returns how many.
pub(super) async fn retry(redis: &Connections, id: Option<&str>) -> Result<u64, Error> {
    if let Some(id) = id {
        return retry_one(redis, id).await;
    }
    let mut count = 0;
    loop {
        let before = count;
        for dead_letter in list(redis, BATCH).await? {
            count += retry_one(redis, &dead_letter.id).await?;
        }
        if count == before {
            return Ok(count);
        }
    }
}

async fn retry_one(redis: &Connections, id: &str) -> Result<u64, Error> {
    let keys = [JOBS, ATTEMPTS, DEAD_LETTERS, DEAD_LETTERS_BY_JOB, SEQ];
    Ok(RETRY.run(redis, &keys, id).await?)
}
