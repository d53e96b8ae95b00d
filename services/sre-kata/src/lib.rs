#![doc = include_str!("../README.md")]

mod config;
mod error;
pub mod repeats;
mod routes;

use server::{Application, Running, StartError};
use utoipa::openapi::OpenApi;

pub use config::{Config, SERVICE};

/// Starts the service. Must be called inside a tokio runtime.
///
/// # Errors
/// When its address cannot be listened on.
pub fn build(config: &Config) -> Result<Running, StartError> {
    Application::new(SERVICE, &config.common).serve(routes::configure)
}

/// The OpenAPI document.
#[must_use]
pub fn document() -> OpenApi {
    server::document(&SERVICE, routes::configure)
}
