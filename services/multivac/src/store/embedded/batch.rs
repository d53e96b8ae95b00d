//! Changes of many requests, within one transaction.

use sqlx::SqliteConnection;
use storage::Item;

use super::add::{Added, add};
use super::limits::Limits;
use super::queue::{self, Moved};
use super::{dead_letters, entropy};

/// A change.
#[derive(Debug)]
pub(super) enum Change {
    /// Queues a datum, unless its idempotency key is known.
    Add { datum: String, key: Option<String>, traceparent: Option<String> },
    /// Makes a tombstone of the oldest datum.
    DeleteOldest,
    /// Moves jobs that are due into the store.
    MoveDue,
    /// Queues a dead letter again, or all.
    Retry { seq: Option<i64> },
}

impl Item for Change {
    fn heap_bytes(&self) -> usize {
        if let Self::Add { datum, .. } = self { datum.len() } else { 0 }
    }
}

/// What came of a change.
#[derive(Debug)]
pub(super) enum Outcome {
    Added(Added),
    Deleted(bool),
    Moved(Moved),
    /// So many dead letters were queued again.
    Retried(u64),
}

/// Applies changes in their order.
pub(super) async fn apply(
    connection: &mut SqliteConnection,
    changes: &[(Change, Limits)],
) -> sqlx::Result<Vec<Outcome>> {
    let mut outcomes = Vec::with_capacity(changes.len());
    // Counted once: nobody else adds within the transaction.
    let mut length = None;
    for (change, limits) in changes {
        outcomes.push(match change {
            Change::Add { datum, key, traceparent } => {
                let waiting = match length {
                    Some(length) => length,
                    None => queue::length(connection).await?,
                };
                let is_full = waiting >= limits.max_length;
                let options = (key.as_deref(), traceparent.as_deref());
                let added = add(connection, datum, options, is_full).await?;
                length = Some(waiting + u64::from(matches!(added, Added::New(_))));
                Outcome::Added(added)
            }
            Change::DeleteOldest => {
                Outcome::Deleted(entropy::delete_oldest(connection, limits.tombstone_ttl).await?)
            }
            Change::MoveDue => {
                length = None;
                Outcome::Moved(queue::move_due(connection, limits).await?)
            }
            Change::Retry { seq } => {
                length = None;
                Outcome::Retried(dead_letters::retry(connection, *seq).await?)
            }
        });
    }
    Ok(outcomes)
}
