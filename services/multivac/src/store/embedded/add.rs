//! Adds jobs to the queue.

use std::sync::LazyLock;

use sqlx::{AssertSqlSafe, SqliteConnection};

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

/// A datum to queue, and the context of its trace.
pub(super) type Datum<'a> = (&'a str, Option<&'a str>);

/// How many rows a statement inserts, the most first. With one for each job, each would be a change of thread and
/// back; with one for every number of jobs, none would be prepared when it is wanted.
const ROWS: [u8; 4] = [64, 16, 4, 1];

/// A statement for each of them.
static INSERTS: LazyLock<[String; ROWS.len()]> = LazyLock::new(|| {
    ROWS.map(|rows| {
        let values = vec!["(?, ?, ?)"; rows.into()].join(", ");
        format!("INSERT INTO jobs (data, created, traceparent) VALUES {values}")
    })
});

/// Queues data in their order, of which so many fit. Returns what became of each.
pub(super) async fn add(
    connection: &mut SqliteConnection,
    data: &[Datum<'_>],
    room: usize,
) -> sqlx::Result<Vec<Added>> {
    let (mut rest, refused) = data.split_at(room.min(data.len()));
    let now = now();
    let mut outcomes = Vec::with_capacity(data.len());
    for (&rows, insert) in ROWS.iter().zip(&*INSERTS) {
        while let Some((these, others)) = rest.split_at_checked(rows.into()) {
            let mut insert = sqlx::query(AssertSqlSafe(insert.as_str()));
            for (datum, traceparent) in these {
                insert = insert.bind(*datum).bind(now).bind(*traceparent);
            }
            // Nobody else writes within the transaction, so the rows have this number and those before it.
            let last = insert.execute(&mut *connection).await?.last_insert_rowid();
            outcomes.extend((last + 1 - i64::from(rows)..=last).map(Added::New));
            rest = others;
        }
    }
    outcomes.extend(refused.iter().map(|_| Added::Refused));
    Ok(outcomes)
}

/// Queues a datum, unless its idempotency key is known or the queue is full.
pub(super) async fn add_once(
    connection: &mut SqliteConnection,
    datum: Datum<'_>,
    key: &str,
    room: usize,
) -> sqlx::Result<Added> {
    let now = now();
    let known = "SELECT seq FROM idempotency_keys WHERE key = ? AND expires > ?";
    let known = sqlx::query_scalar(known).bind(key).bind(now);
    if let Some(seq) = known.fetch_optional(&mut *connection).await? {
        return Ok(Added::Known(seq));
    }
    let added = add(connection, &[datum], room).await?;
    let Some(&Added::New(seq)) = added.first() else { return Ok(Added::Refused) };
    sqlx::query("INSERT OR REPLACE INTO idempotency_keys (key, seq, expires) VALUES (?, ?, ?)")
        .bind(key)
        .bind(seq)
        .bind(now + milliseconds(KEY_TTL))
        .execute(connection)
        .await?;
    Ok(Added::New(seq))
}
