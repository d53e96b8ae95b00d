//! What changes the file, within a transaction that others share.

use std::time::Duration;

use sqlx::SqliteConnection;
use storage::Item;

use super::now;
use crate::config::JobsConfig;
use crate::store::{FIRST_BACK_OFF, KEY_TTL};

/// How many jobs move at once.
const BATCH: u32 = 256;

/// How jobs are treated; times in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) max_length: u64,
    pub(super) tombstone_ttl: i64,
    max_attempts: u32,
    /// What is due later than that was so by a clock that has been set back: it is due.
    pub(super) longest_back_off: i64,
}

impl Limits {
    pub(super) fn of(config: &JobsConfig) -> Self {
        Self {
            max_length: config.queue_max_length,
            tombstone_ttl: milliseconds(config.tombstone_ttl),
            max_attempts: config.job_max_attempts.get(),
            longest_back_off: milliseconds(config.job_claim_after),
        }
    }

    /// How long a job waits after so many refusals.
    fn back_off(&self, attempts: u32) -> i64 {
        let times = 2_i64.saturating_pow(attempts.saturating_sub(1));
        milliseconds(FIRST_BACK_OFF).saturating_mul(times).min(self.longest_back_off)
    }
}

/// A change.
#[derive(Debug)]
pub(super) enum Write {
    /// Queues a datum, unless the client's key is known.
    Add { datum: String, key: Option<String>, max_length: u64 },
    /// Moves the oldest datum to the tombstones.
    DeleteOldest { tombstone_ttl: i64 },
    /// Moves jobs that are due into the store.
    Move(Limits),
    /// Queues a dead letter anew, or all.
    Retry { seq: Option<i64> },
}

impl Item for Write {
    fn heap_bytes(&self) -> usize {
        if let Self::Add { datum, .. } = self { datum.len() } else { 0 }
    }
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Done {
    Added {
        seq: i64,
        is_new: bool,
    },
    /// The queue was full.
    NotAdded,
    Moved(Moved),
    /// So many were deleted, or queued anew.
    Changed(u64),
}

/// What became of the jobs that were due.
#[derive(Debug, Default)]
pub(super) struct Moved {
    /// When those that are stored were accepted.
    pub(super) stored: Vec<i64>,
    /// How many were refused.
    pub(super) refused: u64,
    /// Which of those became dead letters, and why.
    pub(super) dead: Vec<(i64, String)>,
}

impl Moved {
    /// Whether there may be more.
    pub(super) fn is_full(&self) -> bool {
        self.stored.len() as u64 + self.refused >= u64::from(BATCH)
    }
}

/// Makes changes one after the other.
pub(super) async fn all(
    connection: &mut SqliteConnection,
    writes: &[Write],
) -> sqlx::Result<Vec<Done>> {
    let mut done = Vec::with_capacity(writes.len());
    // Counted once: within the transaction nobody else adds.
    let mut length = None;
    for write in writes {
        done.push(match write {
            Write::Add { datum, key, max_length } => {
                let waiting = match length {
                    Some(length) => length,
                    None => count_jobs(connection).await?,
                };
                let added = add(connection, datum, key.as_deref(), waiting < *max_length).await?;
                let is_new = matches!(added, Done::Added { is_new: true, .. });
                length = Some(waiting + u64::from(is_new));
                added
            }
            Write::DeleteOldest { tombstone_ttl } => delete(connection, *tombstone_ttl).await?,
            Write::Move(limits) => {
                length = None;
                Done::Moved(move_jobs(connection, limits).await?)
            }
            Write::Retry { seq } => {
                length = None;
                retry(connection, *seq).await?
            }
        });
    }
    Ok(done)
}

async fn count_jobs(connection: &mut SqliteConnection) -> sqlx::Result<u64> {
    sqlx::query_scalar("SELECT count(*) FROM jobs").fetch_one(connection).await
}

async fn add(
    connection: &mut SqliteConnection,
    datum: &str,
    key: Option<&str>,
    has_room: bool,
) -> sqlx::Result<Done> {
    let now = now();
    if let Some(key) = key {
        let known = "SELECT seq FROM idempotency_keys WHERE key = ? AND expires > ?";
        let known = sqlx::query_scalar(known).bind(key).bind(now);
        if let Some(seq) = known.fetch_optional(&mut *connection).await? {
            return Ok(Done::Added { seq, is_new: false });
        }
    }
    if !has_room {
        return Ok(Done::NotAdded);
    }
    let add = sqlx::query("INSERT INTO jobs (data, created) VALUES (?, ?)").bind(datum).bind(now);
    let seq = add.execute(&mut *connection).await?.last_insert_rowid();
    if let Some(key) = key {
        sqlx::query("INSERT OR REPLACE INTO idempotency_keys (key, seq, expires) VALUES (?, ?, ?)")
            .bind(key)
            .bind(seq)
            .bind(now + milliseconds(KEY_TTL))
            .execute(connection)
            .await?;
    }
    Ok(Done::Added { seq, is_new: true })
}

async fn delete(connection: &mut SqliteConnection, tombstone_ttl: i64) -> sqlx::Result<Done> {
    let delete = "DELETE FROM entropy WHERE seq = (SELECT min(seq) FROM entropy) RETURNING seq";
    let Some(seq) = sqlx::query_scalar::<_, i64>(delete).fetch_optional(&mut *connection).await?
    else {
        return Ok(Done::Changed(0));
    };
    let tombstone = sqlx::query("INSERT INTO tombstones (seq, expires) VALUES (?, ?)");
    tombstone.bind(seq).bind(now().saturating_add(tombstone_ttl)).execute(connection).await?;
    Ok(Done::Changed(1))
}

/// Moves the oldest jobs that are due, and forgets what has expired.
async fn move_jobs(connection: &mut SqliteConnection, limits: &Limits) -> sqlx::Result<Moved> {
    let now = now();
    for forget in [
        "DELETE FROM tombstones WHERE expires <= ?",
        "DELETE FROM idempotency_keys WHERE expires <= ?",
    ] {
        sqlx::query(forget).bind(now).execute(&mut *connection).await?;
    }
    let latest = now.saturating_add(limits.longest_back_off);
    let due = "SELECT seq, created, attempts FROM jobs WHERE due <= ? OR due > ? \
        ORDER BY seq LIMIT ?";
    let due = sqlx::query_as(due).bind(now).bind(latest).bind(BATCH);
    let due: Vec<(i64, i64, u32)> = due.fetch_all(&mut *connection).await?;
    let (Some((first, ..)), Some((last, ..))) = (due.first(), due.last()) else {
        return Ok(Moved::default());
    };
    match store(connection, *first, *last, (now, latest)).await {
        Ok(()) => {
            let stored = due.iter().map(|(_, created, _)| *created).collect();
            return Ok(Moved { stored, ..Moved::default() });
        }
        Err(error) if is_refusal(&error) => {}
        Err(error) => return Err(error),
    }
    // One of them is refused: which?
    let mut moved = Moved::default();
    for (seq, created, attempts) in due {
        match store(connection, seq, seq, (now, latest)).await {
            Ok(()) => moved.stored.push(created),
            Err(error) if is_refusal(&error) => {
                moved.refused += 1;
                let reason = error.to_string();
                if refuse(connection, seq, attempts + 1, &reason, limits).await? {
                    moved.dead.push((seq, reason));
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(moved)
}

/// Moves the jobs of a range that are due.
async fn store(
    connection: &mut SqliteConnection,
    first: i64,
    last: i64,
    (now, latest): (i64, i64),
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

/// Notes that the store refuses a job; returns whether it has become a dead letter.
async fn refuse(
    connection: &mut SqliteConnection,
    seq: i64,
    attempts: u32,
    reason: &str,
    limits: &Limits,
) -> sqlx::Result<bool> {
    if attempts < limits.max_attempts {
        let due = now() + limits.back_off(attempts);
        let wait = sqlx::query("UPDATE jobs SET attempts = ?, due = ? WHERE seq = ?");
        wait.bind(attempts).bind(due).bind(seq).execute(connection).await?;
        return Ok(false);
    }
    let bury = "INSERT INTO dead_letters (seq, data, created, attempts, reason) \
        SELECT seq, data, created, ?, ? FROM jobs WHERE seq = ?";
    sqlx::query(bury).bind(attempts).bind(reason).bind(seq).execute(&mut *connection).await?;
    sqlx::query("DELETE FROM jobs WHERE seq = ?").bind(seq).execute(connection).await?;
    Ok(true)
}

async fn retry(connection: &mut SqliteConnection, seq: Option<i64>) -> sqlx::Result<Done> {
    let mut count = 0;
    for step in [
        "INSERT INTO jobs (seq, data, created) \
            SELECT seq, data, created FROM dead_letters WHERE ?1 IS NULL OR seq = ?1",
        "DELETE FROM dead_letters WHERE ?1 IS NULL OR seq = ?1",
    ] {
        count = sqlx::query(step).bind(seq).execute(&mut *connection).await?.rows_affected();
    }
    Ok(Done::Changed(count))
}

/// Whether SQLite refuses that row, and is not in trouble itself: `SQLITE_TOOBIG`, `SQLITE_CONSTRAINT` and
/// `SQLITE_MISMATCH` (<https://www.sqlite.org/rescode.html>; the low byte is the primary code).
fn is_refusal(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 18..=20))
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_back_off_doubles_up_to_its_limit() {
        let limits = Limits::of(&JobsConfig::default());
        let back_offs = [1, 2, 3, 5, 6, 64, u32::MAX].map(|attempts| limits.back_off(attempts));
        assert_eq!(back_offs, [1000, 2000, 4000, 16_000, 30_000, 30_000, 30_000]);
    }
}
