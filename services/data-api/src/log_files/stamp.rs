//! The time that a log file is named after.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, Utc};

/// How many nanoseconds a second has.
const SECOND: u64 = 1_000_000_000;

/// Nanoseconds since 1970, until the year 2554; as text the name `log_<seconds>.<nine decimals>.txt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp(u64);

impl Stamp {
    pub(crate) const FIRST: Self = Self(0);
    pub(crate) const LAST: Self = Self(u64::MAX);

    pub(super) fn now() -> Self {
        SystemTime::now().into()
    }

    /// The time that long ago.
    pub(super) fn before(age: Duration) -> Self {
        (SystemTime::now() - age).into()
    }

    pub(crate) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The time as RFC 3339 has it, in UTC with all nine decimals.
    pub(crate) fn rfc3339(self) -> String {
        DateTime::<Utc>::from(UNIX_EPOCH + Duration::from_nanos(self.0))
            .to_rfc3339_opts(SecondsFormat::Nanos, true)
    }

    /// Reads a time by RFC 3339. Times before the first and after the last become those.
    pub(crate) fn parse_rfc3339(text: &str) -> Option<Self> {
        Some(SystemTime::from(DateTime::parse_from_rfc3339(text).ok()?).into())
    }
}

impl From<SystemTime> for Stamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "log_{}.{:09}.txt", self.0 / SECOND, self.0 % SECOND)
    }
}

impl FromStr for Stamp {
    /// It is not the name of a log file.
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let parse = || {
            let digits = name.strip_prefix("log_")?.strip_suffix(".txt")?;
            let (seconds, decimals) = digits.split_once('.')?;
            let seconds = seconds.parse::<u64>().ok()?.checked_mul(SECOND)?;
            Some(Self(seconds.checked_add(decimals.parse().ok()?)?))
        };
        // A file has one name: neither signs nor leading zeros nor another number of decimals.
        parse().filter(|stamp| stamp.to_string() == name).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_leads_back_to_its_stamp(nanoseconds: u64) {
            let stamp = Stamp(nanoseconds);

            prop_assert_eq!(stamp.to_string().parse(), Ok(stamp));
            prop_assert_eq!(Stamp::parse_rfc3339(&stamp.rfc3339()), Some(stamp));
        }

        #[test]
        fn names_are_refused_or_the_only_one_of_their_stamp(name in "(log_)?[0-9+-]{0,21}\\.?[0-9]{0,10}(\\.txt)?|\\PC*") {
            if let Ok(stamp) = name.parse::<Stamp>() {
                prop_assert_eq!(stamp.to_string(), name);
            }
        }
    }

    #[test]
    fn a_name_has_the_seconds_and_nine_decimals() {
        let stamp = Stamp(1_715_590_067_000_123_000);

        assert_eq!(stamp.to_string(), "log_1715590067.000123000.txt");
        assert_eq!(stamp.rfc3339(), "2024-05-13T08:47:47.000123000Z");
    }

    #[test]
    fn other_names_are_no_log_files() {
        for name in [
            "",
            "log_1.5.txt",
            "log_1715590067.000123.txt",
            "log_01.000000000.txt",
            "log_+1.000000000.txt",
            "log_1.+00000000.txt",
            "log_-1.000000000.txt",
            "log_.000000000.txt",
            "log_18446744074.000000000.txt",
            "log_99999999999999999999.000000000.txt",
            "log_1.000000000.txt.tmp",
            ".log_1.000000000.txt",
            "LOG_1.000000000.txt",
            "log_1.000000000.txt\0",
            "../log_1.000000000.txt",
        ] {
            assert_eq!(name.parse::<Stamp>(), Err(()), "{name}");
        }
    }

    #[test]
    fn times_are_read_in_any_zone_and_kept_within_what_names_can_say() {
        for (text, stamp) in [
            ("2024-05-13T08:47:47Z", Some(Stamp(1_715_590_067_000_000_000))),
            ("2024-05-13t10:47:47.5+02:00", Some(Stamp(1_715_590_067_500_000_000))),
            ("1969-12-31T23:59:59Z", Some(Stamp::FIRST)),
            ("9999-12-31T23:59:59Z", Some(Stamp::LAST)),
            ("2024-05-13T08:47:47", None),
            ("2024-05-13", None),
            ("2024-13-13T08:47:47Z", None),
            ("1715590067", None),
            ("", None),
        ] {
            assert_eq!(Stamp::parse_rfc3339(text), stamp, "{text}");
        }
    }
}
