//! A job in the stream.

use redis::streams::StreamId;

/// A job that was delivered.
pub(super) struct Entry {
    /// Its id in the stream. That of a dead letter that was queued again differs from the job's.
    pub(super) entry_id: String,
    /// The job's id: that of its first entry.
    pub(super) id: String,
    pub(super) seq: i64,
    pub(super) data: String,
    /// When it was accepted by Redis's clock, in milliseconds since 1970.
    pub(super) created: i64,
}

impl Entry {
    /// None for what no server of this service has added.
    pub(super) fn parse(entry: &StreamId) -> Option<Self> {
        let id = entry.get("id").unwrap_or_else(|| entry.id.clone());
        Some(Self {
            created: created(&id)?,
            seq: entry.get("seq")?,
            data: entry.get("data")?,
            entry_id: entry.id.clone(),
            id,
        })
    }
}

/// The time in a job's id; none if it cannot be one.
pub(super) fn created(id: &str) -> Option<i64> {
    let (time, number) = id.split_once('-')?;
    let (time, number): (i64, u64) = (time.parse().ok()?, number.parse().ok()?);
    // A job has one id: no signs and no leading zeros.
    (format!("{time}-{number}") == id && time >= 0).then_some(time)
}
