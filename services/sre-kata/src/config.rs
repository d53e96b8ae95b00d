//! What the service is configured by: nothing of its own.

use common::{Loader, Service};
use derive_more::AsRef;

/// Who this service is.
pub const SERVICE: Service = common::service!(port: 8003);

/// The configuration.
#[derive(AsRef, Clone, Debug)]
pub struct Config {
    /// What all services share.
    #[as_ref]
    pub common: server::Config,
}

impl Config {
    /// Reads the variables.
    pub fn load(loader: &mut Loader) -> Self {
        Self { common: server::Config::load(&SERVICE, loader) }
    }
}
