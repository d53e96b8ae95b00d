#![doc = include_str!("../README.md")]

mod config;
mod greeting;
mod routes;

use actix_web::web::Data;
use server::{Application, Running, StartError};

pub use config::{Config, SERVICE};

/// Starts the service. Must be called inside a tokio runtime.
///
/// # Errors
/// When its address cannot be listened on.
pub fn build(config: &Config) -> Result<Running, StartError> {
    let application = Application::new(SERVICE, &config.common);
    let greeter = Data::new(greeting::Greeter::new(&config.greeting, &application.context.metrics));
    application.serve(move |config| routes::configure(config.app_data(greeter.clone())))
}

/// The OpenAPI document.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    server::document(&SERVICE, routes::configure)
}
