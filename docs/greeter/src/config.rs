//! What the service is configured by.

use common::Loader;
use serde::{Deserialize, Serialize};

/// The configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// What all services share.
    pub common: common::Config,
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

impl AsRef<common::Config> for Config {
    fn as_ref(&self) -> &common::Config {
        &self.common
    }
}

impl Config {
    /// Reads the variables.
    pub fn load(loader: &mut Loader) -> Self {
        Self { common: common::Config::load(&crate::SERVICE, loader), greeting: loader.section() }
    }
}
