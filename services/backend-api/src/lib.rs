#![doc = include_str!("../README.md")]

mod config;
mod error;
mod external;
mod operation;
mod routes;

use actix_web::web::Data;
use server::{Application, Running, StartError};
use utoipa::openapi::OpenApi;

pub use config::{Config, ExternalConfig, ExternalUrl, IntegrationKey, OperationConfig, SERVICE};

use external::External;

/// Starts the service. Must be called inside a tokio runtime.
///
/// # Errors
/// When its address cannot be listened on, or there are no CA certificates for an `https` URL.
pub fn build(config: &Config) -> Result<Running, StartError> {
    let application = Application::new(SERVICE, &config.common);
    let external = Data::new(External::new(&config.external, &application.context)?);
    let operation = Data::new(config.operation.clone());
    application.serve(move |routes| {
        routes.app_data(external.clone()).app_data(operation.clone()).configure(routes::configure);
    })
}

/// The OpenAPI document.
#[must_use]
pub fn document() -> OpenApi {
    server::document(&SERVICE, routes::configure)
}
