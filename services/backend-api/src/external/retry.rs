//! When to try again.

use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::error::Error;

/// The longest wait before the first retry; each further one may take twice as long.
const BACK_OFF: Duration = Duration::from_millis(100);

/// How long to wait before the retry of that number, counted from 0; none where another attempt would
/// fare no better. At least as long as the external service asks for, and at random, so that clients that
/// failed together do not come back together.
pub(super) fn wait(error: &Error, retry: u32) -> Option<Duration> {
    let asked = match error {
        Error::Unreachable(_) => Duration::ZERO,
        Error::Status { status: 502..=504, retry_after } => retry_after.unwrap_or_default(),
        Error::KeyRefused(_) | Error::Status { .. } | Error::Redirect(_) | Error::TimedOut => {
            return None;
        }
    };
    let longest = BACK_OFF.saturating_mul(2_u32.saturating_pow(retry));
    Some(asked.max(rand::random_range(longest / 2..=longest)))
}

/// The header `Retry-After`: seconds or a date (RFC 9110, section 10.2.3); none where it is neither.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unavailable(retry_after: Option<Duration>) -> Error {
        Error::Status { status: 503, retry_after }
    }

    #[test]
    fn waits_grow_and_differ() {
        let error = unavailable(None);

        for (retry, longest) in [(0, 100), (1, 200), (2, 400), (31, 214_748_364_800)] {
            let longest = Duration::from_millis(longest);
            let waits: Vec<Duration> = (0..100).filter_map(|_| wait(&error, retry)).collect();
            for wait in &waits {
                assert!((longest / 2..=longest).contains(wait), "{retry}: {wait:?}");
            }
            assert!(waits.iter().any(|wait| *wait != waits[0]), "{waits:?}");
        }
        assert!(wait(&error, u32::MAX).is_some());
    }

    #[test]
    fn what_the_external_service_asks_for_is_the_least() {
        let asked = Duration::from_secs(7);
        assert_eq!(wait(&unavailable(Some(asked)), 0), Some(asked));
        assert!(wait(&unavailable(Some(Duration::ZERO)), 0) >= Some(BACK_OFF / 2));
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for (status, again) in [
            (302, false),
            (404, false),
            (429, false),
            (500, false),
            (501, false),
            (502, true),
            (503, true),
            (504, true),
            (505, false),
        ] {
            let retry_after = None;
            let error = Error::Status { status, retry_after };
            assert_eq!(wait(&error, 0).is_some(), again, "{status}");
        }
        for error in [Error::KeyRefused(401), Error::TimedOut] {
            assert_eq!(wait(&error, 0), None, "{error}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let read = |value: &str| {
            retry_after(&HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]))
        };

        assert_eq!(read("0"), Some(Duration::ZERO));
        assert_eq!(read("120"), Some(Duration::from_mins(2)));
        assert_eq!(read(&"9".repeat(40)), Some(Duration::from_secs(u64::MAX)));
        let in_a_minute = httpdate::fmt_http_date(SystemTime::now() + Duration::from_mins(1));
        let wait = read(&in_a_minute).unwrap();
        assert!((50..=60).contains(&wait.as_secs()), "{in_a_minute}: {wait:?}");
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        for nonsense in ["", "-1", "1.5", "soon", "é"] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
