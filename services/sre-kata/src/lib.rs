#![doc = include_str!("../README.md")]

mod config;
mod error;
pub mod repeats;
mod routes;

use common::{Kit, Running, Service, StartError};
use utoipa::openapi::OpenApi;

pub use config::Config;

/// Who this service is.
pub const SERVICE: Service = common::service!(port: 8003);

/// Starts the service. Must be called inside a tokio runtime.
///
/// # Errors
/// When its address cannot be listened on.
pub fn build(config: &Config) -> Result<Running, StartError> {
    Kit::new(SERVICE, &config.common).serve(routes::configure)
}

/// The OpenAPI document.
#[must_use]
pub fn document() -> OpenApi {
    common::docs::document(&SERVICE, routes::configure)
}
