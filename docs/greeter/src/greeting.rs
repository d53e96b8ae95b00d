//! Guests, and what is said to them.

use common::Metrics;
use prometheus_client::metrics::counter::Counter;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::config::GreetingConfig;

/// Somebody to greet.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct Guest {
    name: Name,
}

/// What a guest is called, in 1 to 100 characters.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(min_length = 1, max_length = 100, example = "Ada")]
struct Name(String);

impl TryFrom<String> for Name {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let fits = (1..=100).contains(&name.chars().count());
        fits.then_some(Self(name)).ok_or("a name has 1 to 100 characters")
    }
}

/// Greets guests and counts them.
#[derive(Debug)]
pub(crate) struct Greeter {
    config: GreetingConfig,
    greetings: Counter,
}

impl Greeter {
    /// A greeter that counts in these metrics.
    pub(crate) fn new(config: &GreetingConfig, metrics: &Metrics) -> Self {
        let greetings = metrics.add("greeter_greetings", "Greetings", Counter::default());
        Self { config: config.clone(), greetings }
    }

    /// What is said to a guest.
    pub(crate) fn greet(&self, guest: &Guest) -> String {
        self.greetings.inc();
        format!("{}, {}!", self.config.greeting, guest.name.0)
    }
}
