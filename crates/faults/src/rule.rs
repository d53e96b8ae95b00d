//! What a rule may say.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The longest that a rule is in force.
const MAX_DURATION: Duration = Duration::from_hours(1);

/// The longest latency.
const MAX_LATENCY: Duration = Duration::from_mins(1);

/// The rules in force.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// All of them. A request that several are for gets all their faults.
    #[schema(max_items = 100)]
    pub rules: Vec<Rule>,
}

/// A rule: for requests, for a store, or for the readiness.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// How long it is in force, at most an hour; in answers, how long it still is.
    #[serde(with = "humantime_serde")]
    #[schema(value_type = String, example = "5m")]
    pub duration: Duration,
    /// The route, as the OpenAPI document and metrics have it; without it all but `/healthz`, `/readyz` and `/metrics`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "/logs/{name}")]
    pub route: Option<String>,
    /// The share of requests, or of the uses of a store, above 0 and at most 1; 1 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 0.5)]
    pub share: Option<f64>,
    /// How much longer a request, or the use of a store, takes; at most a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// The status to answer with, 400 to 599, without asking the handler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 503, minimum = 400, maximum = 599)]
    pub status: Option<u16>,
    /// `broken`: the answer breaks off half-way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Body>,
    /// `dropped`: the connection ends without an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
    /// The store that `latency` or `outage` is of, instead of requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<Store>,
    /// Whether the store is unavailable, as the service sees it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub outage: bool,
    /// `off`: `/readyz` answers 503.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Off>,
}

/// A rule in force.
#[derive(Clone, Debug)]
pub(crate) struct Active {
    pub(crate) rule: Rule,
    pub(crate) ends: SystemTime,
}

impl Active {
    pub(crate) fn is_live(&self, now: SystemTime) -> bool {
        now < self.ends
    }
}

/// A time that is added: always the same, or drawn between two.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Latency {
    /// Always the same.
    Fixed(Time),
    /// Drawn for each request, each time between the two being as likely.
    Drawn {
        /// The least.
        from: Time,
        /// The most.
        to: Time,
    },
}

/// A time, as `200ms` or `1s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Deserialize, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, example = "200ms")]
pub struct Time(#[serde(with = "humantime_serde")] Duration);

/// What becomes of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Body {
    /// It breaks off.
    Broken,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Connection {
    /// It ends.
    Dropped,
}

/// A switch that can only be turned off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Off {
    /// It is off.
    Off,
}

/// A store, by the name of its readiness check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// SQLite or PostgreSQL.
    Database,
    /// Multivac's queue.
    Redis,
    /// Multivac's store.
    Mongodb,
}

/// Why a rule is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// `FAULT_INJECTION` is not set.
    #[error("fault injection is off")]
    IsOff,
    /// A duration that is none, or too long.
    #[error("`duration` must be more than 0s and at most 1h")]
    Duration,
    /// No share.
    #[error("`share` must be above 0 and at most 1")]
    Share,
    /// No status of an error.
    #[error("`status` must be from 400 to 599")]
    Status,
    /// A latency that is too long, or whose bounds are the wrong way round.
    #[error("`latency` must be at most 1m, and `from` no more than `to`")]
    Latency,
    /// A route that no rule reaches.
    #[error("`route` must not be a probe's or that of the metrics")]
    Exempt,
    /// A rule of a store with what is for requests only.
    #[error(
        "a rule with `store` takes `latency` and `outage`, and no `route`, `status`, `body`, `connection`, `readiness`"
    )]
    Store,
    /// An outage of nothing.
    #[error("`outage` needs a `store`")]
    Outage,
    /// A rule of the readiness with anything else.
    #[error("a rule with `readiness` takes nothing but `duration`")]
    Readiness,
    /// A rule without a fault.
    #[error("the rule does nothing")]
    Nothing,
}

impl Latency {
    pub(crate) fn draw(&self) -> Duration {
        match *self {
            Self::Fixed(Time(latency)) => latency,
            Self::Drawn { from, to } => rand::random_range(from.0..=to.0),
        }
    }

    fn is_right(&self) -> bool {
        match *self {
            Self::Fixed(latency) => latency.0 <= MAX_LATENCY,
            Self::Drawn { from, to } => from <= to && to.0 <= MAX_LATENCY,
        }
    }
}

impl Store {
    /// As rules and metrics have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Redis => "redis",
            Self::Mongodb => "mongodb",
        }
    }
}

impl Rule {
    /// Whether it is for requests of this route.
    pub(crate) fn is_for_request(&self, route: &str) -> bool {
        self.store.is_none()
            && self.readiness.is_none()
            && self.route.as_deref().is_none_or(|own| own == route)
    }

    /// Finds what is wrong with it.
    pub(crate) fn check(&self, is_exempt: fn(&str) -> bool) -> Result<(), Invalid> {
        let of_requests = self.status.is_some() || self.body.is_some() || self.connection.is_some();
        let of_routes = of_requests || self.route.is_some();
        let no_fault = !of_requests && self.latency.is_none();
        let wrong = [
            (self.duration.is_zero() || self.duration > MAX_DURATION, Invalid::Duration),
            (self.share.is_some_and(|share| !(share > 0.0 && share <= 1.0)), Invalid::Share),
            (self.status.is_some_and(|it| !(400..=599).contains(&it)), Invalid::Status),
            (self.latency.as_ref().is_some_and(|it| !it.is_right()), Invalid::Latency),
            (self.route.as_deref().is_some_and(is_exempt), Invalid::Exempt),
            (
                self.store.is_some()
                    && (of_routes || self.readiness.is_some() || (no_fault && !self.outage)),
                Invalid::Store,
            ),
            (self.store.is_none() && self.outage, Invalid::Outage),
            (
                self.readiness.is_some()
                    && (of_routes || self.latency.is_some() || self.share.is_some()),
                Invalid::Readiness,
            ),
            (no_fault && self.store.is_none() && self.readiness.is_none(), Invalid::Nothing),
        ];
        wrong.into_iter().find(|(is_wrong, _)| *is_wrong).map_or(Ok(()), |(_, wrong)| Err(wrong))
    }
}
