//! The jobs that wait.

use std::time::Duration;

use nosql::spans::Destination;
use sqlx::SqliteConnection;
use tracing::Instrument as _;

use super::entropy::DueJobs;
use super::limits::Limits;
use super::time::{now, since};
use super::{dead_letters, entropy};
use crate::store::interface::{Job, QueueState, Status};

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
    limits: &Limits,
) -> sqlx::Result<bool> {
    let is_due = "SELECT EXISTS (SELECT 1 FROM jobs WHERE due <= ?1 OR due > ?1 + ?2)";
    let is_due = sqlx::query_scalar(is_due).bind(now()).bind(limits.longest_back_off);
    is_due.fetch_one(connection).await
}

/// Moves the oldest jobs that are due into the store, and removes what has expired.
pub(super) async fn move_due(
    connection: &mut SqliteConnection,
    limits: &Limits,
) -> sqlx::Result<Moved> {
    let now = now();
    for expire in [
        "DELETE FROM tombstones WHERE expires <= ?",
        "DELETE FROM idempotency_keys WHERE expires <= ?",
    ] {
        sqlx::query(expire).bind(now).execute(&mut *connection).await?;
    }
    let latest = now.saturating_add(limits.longest_back_off);
    let due = "SELECT seq, created, attempts, traceparent FROM jobs WHERE due <= ? OR due > ? \
        ORDER BY seq LIMIT ?";
    let due = sqlx::query_as(due).bind(now).bind(latest).bind(BATCH);
    let due: Vec<DueJob> = due.fetch_all(&mut *connection).await?;
    let (Some((first, ..)), Some((last, ..))) = (due.first(), due.last()) else {
        return Ok(Moved::default());
    };
    let span = QUEUE.process(due.iter().map(|(.., traceparent)| traceparent.as_deref()));
    let jobs = DueJobs { first: *first, last: *last, now, latest };
    let insert = entropy::insert(connection, jobs);
    match insert.instrument(span.clone()).await {
        Ok(()) => {
            let stored = due.iter().map(|(_, created, ..)| *created).collect();
            return Ok(Moved { stored, ..Moved::default() });
        }
        Err(error) if is_refusal(&error) => {}
        Err(error) => return Err(error),
    }
    // One of them is refused. Stored one by one, it does not hold up the others.
    let mut moved = Moved::default();
    for (seq, created, attempts, traceparent) in due {
        match entropy::insert(connection, DueJobs { first: seq, last: seq, ..jobs }).await {
            Ok(()) => moved.stored.push(created),
            Err(error) if is_refusal(&error) => {
                moved.refused += 1;
                let (attempts, reason) = (attempts + 1, error.to_string());
                if attempts < limits.max_attempts {
                    back_off(connection, seq, attempts, limits).await?;
                } else {
                    dead_letters::insert(connection, seq, attempts, &reason).await?;
                    span.in_scope(|| {
                        let traceparent = traceparent.as_deref();
                        DEAD_LETTER_QUEUE.sent_dead_letter(&seq.to_string(), traceparent);
                    });
                    moved.dead.push((seq, reason));
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(moved)
}

/// Counts an attempt, and puts off the next one.
async fn back_off(
    connection: &mut SqliteConnection,
    seq: i64,
    attempts: u32,
    limits: &Limits,
) -> sqlx::Result<()> {
    let due = now() + limits.back_off(attempts);
    let wait = sqlx::query("UPDATE jobs SET attempts = ?, due = ? WHERE seq = ?");
    wait.bind(attempts).bind(due).bind(seq).execute(connection).await?;
    Ok(())
}

/// Whether SQLite refuses that row, and has no trouble of its own: `SQLITE_TOOBIG`, `SQLITE_CONSTRAINT` and
/// `SQLITE_MISMATCH` (<https://www.sqlite.org/rescode.html>; the low byte is the primary code).
fn is_refusal(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 18..=20))
}
