//! The stored data, and the tombstones of those that were deleted.

use std::time::Duration;

use sqlx::SqliteConnection;

use super::time::{milliseconds, now};

/// The oldest datum.
pub(super) async fn oldest(connection: &mut SqliteConnection) -> sqlx::Result<Option<String>> {
    let oldest = "SELECT data FROM entropy ORDER BY seq LIMIT 1";
    sqlx::query_scalar(oldest).fetch_optional(connection).await
}

/// Jobs of a range that are due.
#[derive(Clone, Copy)]
pub(super) struct DueJobs {
    /// The numbers of the first and the last one.
    pub(super) range: (i64, i64),
    pub(super) now: i64,
    /// A job that is due later than this was given that time by a clock that has since been set back.
    pub(super) latest: i64,
}

/// Stores their data, and takes them out of the queue.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    DueJobs { range: (first, last), now, latest }: DueJobs,
) -> sqlx::Result<()> {
    for step in [
        "INSERT INTO entropy (seq, data, created) SELECT seq, data, created FROM jobs \
            WHERE seq BETWEEN ? AND ? AND (due <= ? OR due > ?)",
        "DELETE FROM jobs WHERE seq BETWEEN ? AND ? AND (due <= ? OR due > ?)",
    ] {
        let step = sqlx::query(step).bind(first).bind(last).bind(now).bind(latest);
        step.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Makes a tombstone of the oldest datum; returns whether there was one.
pub(super) async fn delete_oldest(
    connection: &mut SqliteConnection,
    tombstone_ttl: Duration,
) -> sqlx::Result<bool> {
    let delete = "DELETE FROM entropy WHERE seq = (SELECT min(seq) FROM entropy) RETURNING seq";
    let deleted = sqlx::query_scalar::<_, i64>(delete).fetch_optional(&mut *connection).await?;
    let Some(seq) = deleted else { return Ok(false) };
    let expires = now().saturating_add(milliseconds(tombstone_ttl));
    let tombstone = sqlx::query("INSERT INTO tombstones (seq, expires) VALUES (?, ?)");
    tombstone.bind(seq).bind(expires).execute(connection).await?;
    Ok(true)
}
