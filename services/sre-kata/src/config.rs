//! What the service is configured by: nothing of its own.

use common::Loader;

use crate::SERVICE;

/// The configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// What all services share.
    pub common: common::Config,
}

impl AsRef<common::Config> for Config {
    fn as_ref(&self) -> &common::Config {
        &self.common
    }
}

impl Config {
    /// Reads the variables.
    pub fn load(loader: &mut Loader) -> Self {
        Self { common: common::Config::load(&SERVICE, loader) }
    }
}
