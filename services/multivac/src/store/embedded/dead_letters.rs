//! Jobs that were refused too often.

use sqlx::SqliteConnection;

use crate::store::interface::DeadLetter;

/// The oldest ones.
pub(super) async fn list(
    connection: &mut SqliteConnection,
    limit: usize,
) -> sqlx::Result<Vec<DeadLetter>> {
    // A sum as in the queue, to stay prepared.
    let list = "SELECT CAST(seq AS TEXT) AS id, attempts, reason, data FROM dead_letters \
        ORDER BY seq LIMIT 0 + ?";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    sqlx::query_as(list).bind(limit).fetch_all(connection).await
}

/// Makes a dead letter of a job.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    seq: i64,
    attempts: u32,
    reason: &str,
) -> sqlx::Result<()> {
    let insert = "INSERT INTO dead_letters (seq, data, created, traceparent, attempts, reason) \
        SELECT seq, data, created, traceparent, ?, ? FROM jobs WHERE seq = ?";
    let insert = sqlx::query(insert).bind(attempts).bind(reason).bind(seq);
    insert.execute(&mut *connection).await?;
    sqlx::query("DELETE FROM jobs WHERE seq = ?").bind(seq).execute(connection).await?;
    Ok(())
}

/// Queues one of them again, or all; returns how many.
pub(super) async fn retry(
    connection: &mut SqliteConnection,
    seq: Option<i64>,
) -> sqlx::Result<u64> {
    let mut count = 0;
    for step in [
        "INSERT INTO jobs (seq, data, created, traceparent) \
            SELECT seq, data, created, traceparent FROM dead_letters WHERE ?1 IS NULL OR seq = ?1",
        "DELETE FROM dead_letters WHERE ?1 IS NULL OR seq = ?1",
    ] {
        count = sqlx::query(step).bind(seq).execute(&mut *connection).await?.rows_affected();
    }
    Ok(count)
}
