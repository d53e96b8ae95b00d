//! The jobs that wait.

use std::time::Duration;

use nosql::spans::Destination;
use sqlx::SqliteConnection;
use tracing::Instrument as _;

use super::entropy::DueJobs;
use super::time::{milliseconds, now, since};
use super::{dead_letters, entropy};
use crate::config::JobsConfig;
use crate::store::interface::{FIRST_BACK_OFF, Job, QueueState, Status};

/// The queue and the dead letters in spans.
pub(super) const QUEUE: Destination = Destination { system: "sqlite", name: "jobs" };
const DEAD_LETTER_QUEUE: Destination = Destination { system: "sqlite", name: "dead_letters" };

/// Jobs that move in one transaction at most.
const BATCH: u32 = 256;

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
    /// Whether more jobs may be due.
    pub(super) fn is_full(&self) -> bool {
        self.stored.len() as u64 + self.refused >= u64::from(BATCH)
    }
}

/// A job that is due: its number, when it was accepted, attempts, and the context of its trace.
type DueJob = (i64, i64, u32, Option<String>);

/// How many jobs wait.
pub(super) async fn length(connection: &mut SqliteConnection) -> sqlx::Result<u64> {
    sqlx::query_scalar("SELECT count(*) FROM jobs").fetch_one(connection).await
}

/// The state of the queue and, if they are to be counted, how many data are stored; in one statement, so
/// that a job that moves is in one of them.
pub(super) async fn state(
    connection: &mut SqliteConnection,
    counts_stored: bool,
) -> sqlx::Result<(QueueState, u64)> {
    let state = "SELECT count(*), (SELECT created FROM jobs ORDER BY seq LIMIT 1), \
        (SELECT count(*) FROM dead_letters), \
        CASE WHEN ?1 THEN (SELECT count(*) FROM entropy) ELSE 0 END FROM jobs";
    let (length, oldest, dead_letters, stored): (u64, Option<i64>, u64, u64) =
        sqlx::query_as(state).bind(counts_stored).fetch_one(connection).await?;
    let oldest_age = oldest.map_or(Duration::ZERO, since);
    Ok((QueueState { length, oldest_age, dead_letters }, stored))
}

/// A job by its number.
pub(super) async fn job(connection: &mut SqliteConnection, seq: i64) -> sqlx::Result<Option<Job>> {
    let find = "SELECT 'queued', attempts FROM jobs WHERE seq = ?1 \
        UNION ALL SELECT 'stored', 0 FROM entropy WHERE seq = ?1 \
        UNION ALL SELECT 'deleted', 0 FROM tombstones WHERE seq = ?1 AND expires > ?2 \
        UNION ALL SELECT 'failed', attempts FROM dead_letters WHERE seq = ?1";
    let found: Option<(Status, u32)> =
        sqlx::query_as(find).bind(seq).bind(now()).fetch_optional(connection).await?;
    Ok(found.map(|(status, attempts)| Job { status, attempts }))
}

/// Whether a job is due.
pub(super) async fn is_due(
    connection: &mut SqliteConnection,
    config: &JobsConfig,
) -> sqlx::Result<bool> {
    // A job that is due later than after the longest back-off was given that time by a clock that has since been set back.
    let is_due = "SELECT EXISTS (SELECT 1 FROM jobs WHERE due <= ?1 OR due > ?1 + ?2)";
    let is_due = sqlx::query_scalar(is_due).bind(now()).bind(milliseconds(config.job_claim_after));
    is_due.fetch_one(connection).await
}

/// Moves the oldest jobs that are due into the store, and removes what has expired.
pub(super) async fn move_due(
    connection: &mut SqliteConnection,
    config: &JobsConfig,
) -> sqlx::Result<Moved> {
    let time = now();
    for expire in [
        "DELETE FROM tombstones WHERE expires <= ?",
        "DELETE FROM idempotency_keys WHERE expires <= ?",
    ] {
        sqlx::query(expire).bind(time).execute(&mut *connection).await?;
    }
    let latest = time.saturating_add(milliseconds(config.job_claim_after));
    // A sum, because SQLite prepares a statement anew for each value of a parameter that is the limit itself.
    let due = "SELECT seq, created, attempts, traceparent FROM jobs WHERE due <= ? OR due > ? \
        ORDER BY seq LIMIT 0 + ?";
    let due = sqlx::query_as(due).bind(time).bind(latest).bind(BATCH);
    let due: Vec<DueJob> = due.fetch_all(&mut *connection).await?;
    let (Some((first, ..)), Some((last, ..))) = (due.first(), due.last()) else {
        return Ok(Moved::default());
    };
    let span = QUEUE.process(due.iter().map(|(.., traceparent)| traceparent.as_deref()));
    let jobs = DueJobs { range: (*first, *last), now: time, latest };
    let insert = entropy::insert(connection, jobs);
    if refusal(insert.instrument(span.clone()).await)?.is_none() {
        let stored = due.iter().map(|(_, created, ..)| *created).collect();
        return Ok(Moved { stored, ..Moved::default() });
    }
    // One of them is refused. Stored one by one, it does not hold up the others.
    let mut moved = Moved::default();
    for (seq, created, attempts, traceparent) in due {
        let job = DueJobs { range: (seq, seq), ..jobs };
        let Some(reason) = refusal(entropy::insert(connection, job).await)? else {
            moved.stored.push(created);
            continue;
        };
        moved.refused += 1;
        let attempts = attempts + 1;
        if attempts < config.job_max_attempts.get() {
            let wait = sqlx::query("UPDATE jobs SET attempts = ?, due = ? WHERE seq = ?");
            let wait = wait.bind(attempts).bind(now() + back_off(attempts, config)).bind(seq);
            wait.execute(&mut *connection).await?;
        } else {
            dead_letters::insert(connection, seq, attempts, &reason).await?;
            let traceparent = traceparent.as_deref();
            span.in_scope(|| {
                DEAD_LETTER_QUEUE.sent_dead_letter(&seq.to_string(), traceparent);
            });
            moved.dead.push((seq, reason));
        }
    }
    Ok(moved)
}

/// How long a job waits after so many refusals, in milliseconds.
fn back_off(attempts: u32, config: &JobsConfig) -> i64 {
    let times = 2_i64.saturating_pow(attempts.saturating_sub(1));
    milliseconds(FIRST_BACK_OFF).saturating_mul(times).min(milliseconds(config.job_claim_after))
}

/// Why SQLite refuses a row, if it does and has no trouble of its own: `SQLITE_TOOBIG`, `SQLITE_CONSTRAINT` and
/// `SQLITE_MISMATCH` (<https://www.sqlite.org/rescode.html>; the low byte is the primary code).
///
/// # Errors
/// Those that are no refusals.
fn refusal(inserted: sqlx::Result<()>) -> sqlx::Result<Option<String>> {
    let Err(error) = inserted else { return Ok(None) };
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    let is_refusal = code.is_some_and(|code| matches!(code & 0xff, 18..=20));
    if is_refusal { Ok(Some(error.to_string())) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_back_off_doubles_up_to_its_limit() {
        let config = JobsConfig::default();
        let back_offs = [1, 2, 3, 5, 6, 64, u32::MAX].map(|attempts| back_off(attempts, &config));
        assert_eq!(back_offs, [1000, 2000, 4000, 16_000, 30_000, 30_000, 30_000]);
    }
}
