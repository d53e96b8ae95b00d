//! The types of OpenTelemetry's variables.
//!
//! The specification has SDKs ignore what they do not understand, with a warning. Here it is a problem like any
//! other: a service that samples something else than was asked for would be found out late.

use percent_encoding::percent_decode_str;
use serde::de::{self, Deserialize, Deserializer};
use serde::{Serialize, Serializer};

/// `true` or `false`, in any case.
pub(super) fn any_case_bool<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let text = String::deserialize(deserializer)?.to_ascii_lowercase();
    text.parse().map_err(|_| de::Error::custom("expected true or false"))
}

/// What decides whether a trace is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TracesSampler {
    /// Every trace.
    AlwaysOn,
    /// None.
    AlwaysOff,
    /// A share of them.
    #[serde(rename = "traceidratio")]
    TraceIdRatio,
    /// What the caller does, else every trace.
    #[default]
    #[serde(rename = "parentbased_always_on")]
    ParentBasedAlwaysOn,
    /// What the caller does, else none.
    #[serde(rename = "parentbased_always_off")]
    ParentBasedAlwaysOff,
    /// What the caller does, else a share of them.
    #[serde(rename = "parentbased_traceidratio")]
    ParentBasedTraceIdRatio,
}

impl TracesSampler {
    /// Whether the caller decides, where there is one.
    pub(crate) fn is_parent_based(self) -> bool {
        match self {
            Self::AlwaysOn | Self::AlwaysOff | Self::TraceIdRatio => false,
            Self::ParentBasedAlwaysOn
            | Self::ParentBasedAlwaysOff
            | Self::ParentBasedTraceIdRatio => true,
        }
    }
}

/// How spans are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub enum OtlpProtocol {
    /// Protobuf over HTTP.
    #[default]
    #[serde(rename = "http/protobuf")]
    HttpProtobuf,
}

impl<'de> Deserialize<'de> for OtlpProtocol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "http/protobuf" => Ok(Self::HttpProtobuf),
            _ => Err(de::Error::custom("expected http/protobuf, the only one that is supported")),
        }
    }
}

/// Attributes of the resource that spans come from, in the form of W3C Baggage without properties.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceAttributes(Vec<(String, String)>);

impl ResourceAttributes {
    /// Keys and values, decoded.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl Serialize for ResourceAttributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let pairs: Vec<String> = self.iter().map(|(key, value)| format!("{key}={value}")).collect();
        serializer.serialize_str(&pairs.join(","))
    }
}

impl<'de> Deserialize<'de> for ResourceAttributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pair = |pair: &str| {
            let (key, value) = pair.split_once('=')?;
            let decode =
                |text: &str| percent_decode_str(text.trim()).decode_utf8().map(String::from).ok();
            Some((decode(key)?, decode(value)?)).filter(|(key, _)| !key.is_empty())
        };
        String::deserialize(deserializer)?
            .split_terminator(',')
            .map(pair)
            .collect::<Option<_>>()
            .map(Self)
            .ok_or_else(|| {
                de::Error::custom("expected pairs such as deployment.environment.name=test,team=a")
            })
    }
}
