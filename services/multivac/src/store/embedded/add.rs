//! Adds jobs to the queue.

use sqlx::SqliteConnection;

use super::time::{milliseconds, now};
use crate::store::interface::KEY_TTL;

/// What became of a datum.
#[derive(Clone, Copy, Debug)]
pub(super) enum Added {
    /// It has this job.
    New(i64),
    /// Its idempotency key is known, with this job.
    Known(i64),
    /// The queue is full.
    Refused,
}

/// Queues a datum, unless its idempotency key is known or the queue is full.
pub(super) async fn add(
    connection: &mut SqliteConnection,
    datum: &str,
    (key, traceparent): (Option<&str>, Option<&str>),
    is_full: bool,
) -> sqlx::Result<Added> {
    let now = now();
    if let Some(key) = key {
        let known = "SELECT seq FROM idempotency_keys WHERE key = ? AND expires > ?";
        let known = sqlx::query_scalar(known).bind(key).bind(now);
        if let Some(seq) = known.fetch_optional(&mut *connection).await? {
            return Ok(Added::Known(seq));
        }
    }
    if is_full {
        return Ok(Added::Refused);
    }
    let add = "INSERT INTO jobs (data, created, traceparent) VALUES (?, ?, ?)";
    let add = sqlx::query(add).bind(datum).bind(now).bind(traceparent);
    let seq = add.execute(&mut *connection).await?.last_insert_rowid();
    if let Some(key) = key {
        sqlx::query("INSERT OR REPLACE INTO idempotency_keys (key, seq, expires) VALUES (?, ?, ?)")
            .bind(key)
            .bind(seq)
            .bind(now + milliseconds(KEY_TTL))
            .execute(connection)
            .await?;
    }
    Ok(Added::New(seq))
}
