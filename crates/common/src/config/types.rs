//! The types of variables that are more than a number.

use std::io::IsTerminal as _;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use serde::de::{self, Deserialize, Deserializer};
use serde::{Serialize, Serializer};
use tracing_subscriber::EnvFilter;

/// Reads types from a text as `FromStr` does.
macro_rules! deserialize_from_text {
    ($($name:ident),+) => { $(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    )+ };
}

deserialize_from_text!(ByteSize, LogFilter, Networks, RateLimit);

/// A number of bytes: `65536`, `64KiB`, `1MB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// The size as a length in memory, saturating where the platform's are smaller.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl FromStr for ByteSize {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Its own error repeats the value.
        bytesize::ByteSize::from_str(text)
            .map(|size| Self(size.as_u64()))
            .map_err(|_| "expected a size such as 65536, 64KiB or 1MiB")
    }
}

/// Which events are logged, in the syntax of `tracing`'s filter directives.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct LogFilter(String);

impl LogFilter {
    /// A filter that lets pass what any service logs, for tests.
    #[must_use]
    pub fn everything() -> Self {
        Self("debug".into())
    }

    /// The filter itself, made anew: it holds the state of one subscriber.
    #[must_use]
    pub fn env_filter(&self) -> EnvFilter {
        // actix-server reports at this level what we report ourselves, and actix-http as an error
        // whatever a client sends that is no HTTP.
        EnvFilter::new(format!("actix_server=warn,actix_http=off,{}", self.0))
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        Self("info".into())
    }
}

impl FromStr for LogFilter {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A lone word that is no level would be taken as a target's name and silence everything else.
        let is_level = |word: &str| tracing::level_filters::LevelFilter::from_str(word).is_ok();
        // The parser of directives panics at some texts that are not ASCII.
        let plausible = text.is_ascii() && (text.contains(['=', ',']) || is_level(text));
        match plausible.then(|| EnvFilter::try_new(text)) {
            Some(Ok(_)) => Ok(Self(text.into())),
            _ => Err(
                "expected trace, debug, info, warn, error or off, or directives such as info,sqlx=debug",
            ),
        }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people, in colour on a terminal.
    Pretty,
}

impl Default for LogFormat {
    fn default() -> Self {
        if std::io::stdout().is_terminal() { Self::Pretty } else { Self::Json }
    }
}

/// Networks, as CIDRs or single addresses, separated by commas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Whether one of them has this address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Networks {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let network = |entry: &str| {
            let entry = entry.trim();
            entry.parse().or_else(|_| entry.parse::<IpAddr>().map(IpNet::from))
        };
        text.split(',')
            .map(network)
            .collect::<Result<_, _>>()
            .map(Self)
            .map_err(|_| "expected networks such as 10.0.0.0/8,fd00::/8 or addresses")
    }
}

impl Serialize for Networks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let networks: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        serializer.serialize_str(&networks.join(","))
    }
}

/// A number of requests in a second, minute or hour: `50/s`, `100/m`, `1000/h`; or `none`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimit(Option<(NonZeroU32, Period)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Period {
    Second,
    Minute,
    Hour,
}

impl RateLimit {
    /// How many requests in which time; none where there is no limit.
    #[must_use]
    pub fn requests_per(self) -> Option<(NonZeroU32, Duration)> {
        self.0.map(|(requests, period)| {
            let period = match period {
                Period::Second => Duration::from_secs(1),
                Period::Minute => Duration::from_mins(1),
                Period::Hour => Duration::from_hours(1),
            };
            (requests, period)
        })
    }
}

impl FromStr for RateLimit {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Self(None));
        }
        let limit = text.split_once('/').and_then(|(requests, period)| {
            let period = match period {
                "s" => Period::Second,
                "m" => Period::Minute,
                "h" => Period::Hour,
                _ => return None,
            };
            Some((requests.parse().ok()?, period))
        });
        limit
            .map(|limit| Self(Some(limit)))
            .ok_or("expected none or a rate such as 50/s, 100/m, 1000/h")
    }
}

impl Serialize for RateLimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            None => serializer.serialize_str("none"),
            Some((requests, period)) => {
                let period = match period {
                    Period::Second => 's',
                    Period::Minute => 'm',
                    Period::Hour => 'h',
                };
                serializer.collect_str(&format_args!("{requests}/{period}"))
            }
        }
    }
}
