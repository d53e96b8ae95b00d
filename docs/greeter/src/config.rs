//! What the service is configured by.

use common::{Loader, Service};
use derive_more::AsRef;
use serde::{Deserialize, Serialize};

/// Who this service is.
pub const SERVICE: Service = common::service!(port: 8010);

/// The configuration.
#[derive(AsRef, Clone, Debug)]
pub struct Config {
    /// What all services share.
    #[as_ref]
    pub common: server::Config,
    /// How guests are greeted.
    pub greeting: GreetingConfig,
}

/// How guests are greeted.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct GreetingConfig {
    /// `GREETING`: the word before the name, `Hello`.
    pub greeting: String,
}

impl Default for GreetingConfig {
    fn default() -> Self {
        Self { greeting: "Hello".to_owned() }
    }
}

impl Config {
    /// Reads the variables.
    pub fn load(loader: &mut Loader) -> Self {
        Self { common: server::Config::load(&SERVICE, loader), greeting: loader.section() }
    }
}
