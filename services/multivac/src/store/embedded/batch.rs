//! Changes of many requests, within one transaction.

use sqlx::SqliteConnection;
use storage::Item;

use super::add::{Added, Datum, add, add_once};
use super::queue::{self, Moved};
use super::{dead_letters, entropy};
use crate::config::JobsConfig;

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

impl Change {
    /// A datum whose outcome depends on no other's.
    fn plain(&self) -> Option<Datum<'_>> {
        match self {
            Self::Add { datum, key: None, traceparent } => Some((datum, traceparent.as_deref())),
            _ => None,
        }
    }
}

/// Applies changes in their order; data that follow each other are queued together.
pub(super) async fn apply(
    connection: &mut SqliteConnection,
    changes: &[(Change, JobsConfig)],
) -> sqlx::Result<Vec<Outcome>> {
    let mut outcomes = Vec::with_capacity(changes.len());
    // Counted once: nobody else adds within the transaction.
    let mut length = None;
    let both_plain = |(first, _): &(Change, _), (second, _): &(Change, _)| {
        first.plain().is_some() && second.plain().is_some()
    };
    for together in changes.chunk_by(both_plain) {
        let Some((change, config)) = together.first() else { continue };
        match change {
            Change::Add { datum, key, traceparent } => {
                let waiting = match length {
                    Some(length) => length,
                    None => queue::length(connection).await?,
                };
                let room = config.queue_max_length.saturating_sub(waiting);
                let room = usize::try_from(room).unwrap_or(usize::MAX);
                let added = if let Some(key) = key {
                    let datum = (datum.as_str(), traceparent.as_deref());
                    vec![add_once(connection, datum, key, room).await?]
                } else {
                    let data = together.iter().filter_map(|(change, _)| change.plain());
                    add(connection, &data.collect::<Vec<_>>(), room).await?
                };
                let new = added.iter().filter(|added| matches!(added, Added::New(_))).count();
                length = Some(waiting + new as u64);
                outcomes.extend(added.into_iter().map(Outcome::Added));
            }
            Change::DeleteOldest => {
                let deleted = entropy::delete_oldest(connection, config.tombstone_ttl).await?;
                outcomes.push(Outcome::Deleted(deleted));
            }
            Change::MoveDue => {
                length = None;
                outcomes.push(Outcome::Moved(queue::move_due(connection, config).await?));
            }
            Change::Retry { seq } => {
                length = None;
                outcomes.push(Outcome::Retried(dead_letters::retry(connection, *seq).await?));
            }
        }
    }
    Ok(outcomes)
}
