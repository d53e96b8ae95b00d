//! A job in the stream.

use redis::streams::StreamId;

/// A job that was delivered.
pub(super) struct Entry {
    /// Its id in the stream. That of a dead letter that was queued again differs from the job's.
    pub(super) stream_id: String,
    /// The job's id: that of its first entry.
    pub(super) id: String,
    pub(super) seq: i64,
    pub(super) data: String,
    /// The context of the trace that it belongs to, if that is recorded.
    pub(super) traceparent: Option<String>,
    /// When it was accepted by Redis's clock, in milliseconds since 1970.
    pub(super) created: i64,
}

/// An entry that no server of this service has added.
pub(super) struct InvalidEntry {
    pub(super) stream_id: String,
    pub(super) reason: &'static str,
}

impl Entry {
    /// The jobs among some entries, and the entries that are none.
    pub(super) fn parse_all(entries: &[StreamId]) -> (Vec<Self>, Vec<InvalidEntry>) {
        let (mut jobs, mut others) = (Vec::new(), Vec::new());
        for entry in entries {
            match Self::parse(entry) {
                Ok(job) => jobs.push(job),
                Err(reason) => others.push(InvalidEntry { stream_id: entry.id.clone(), reason }),
            }
        }
        (jobs, others)
    }

    fn parse(entry: &StreamId) -> Result<Self, &'static str> {
        let id = entry.get("id").unwrap_or_else(|| entry.id.clone());
        Ok(Self {
            created: created(&id).ok_or("not a job: `id` is not the id of one")?,
            seq: entry.get("seq").ok_or("not a job: `seq` is missing or not a number")?,
            data: entry.get("data").ok_or("not a job: `data` is missing or not UTF-8")?,
            traceparent: entry.get("traceparent"),
            stream_id: entry.id.clone(),
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
