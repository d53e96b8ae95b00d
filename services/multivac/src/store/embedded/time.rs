//! Times as the file has them: milliseconds since 1970.

use std::time::{Duration, SystemTime};

pub(super) fn now() -> i64 {
    milliseconds(SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default())
}

pub(super) fn since(time: i64) -> Duration {
    Duration::from_millis((now() - time).max(0).unsigned_abs())
}

pub(super) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
