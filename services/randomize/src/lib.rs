#![doc = include_str!("../README.md")]

mod audit;
mod command;
mod config;
mod error;
mod jumble;
mod routes;
mod store;
mod token;

use actix_web::web::Data;
use server::{Application, Running, StartError};
use utoipa::openapi::OpenApi;

pub use command::Command;
pub use config::{ApiConfig, AuditConfig, Config, SERVICE};
pub use store::SCHEMA;

use config::Origins;
use store::Store;
use token::Tokens;

/// Starts the service. Must be called inside a tokio runtime.
///
/// # Errors
/// When its address cannot be listened on.
pub fn build(config: &Config) -> Result<Running, StartError> {
    let application = Application::new(SERVICE, &config.common);
    let store = Data::new(Store::start(config, &application.context)?);
    let secret = config.api.jwt_secret.as_ref();
    let tokens = secret.map(|secret| application.context.secrets.reloadable(secret, Tokens::new));
    let tokens = tokens.transpose().map_err(|error| StartError::Other(error.into()))?;
    let tokens = tokens.map(Data::new);
    let origins = config.api.cors_allowed_origins.clone();
    application.serve(move |routes| {
        if let Some(tokens) = &tokens {
            routes.app_data(tokens.clone());
        }
        routes.app_data(store.clone());
        routes::configure(routes, &origins);
    })
}

/// The OpenAPI document.
#[must_use]
pub fn document() -> OpenApi {
    server::document(&SERVICE, |routes| routes::configure(routes, &Origins::default()))
}

/// What is asked of the database, by name: for tests of how it answers.
#[doc(hidden)]
#[must_use]
pub fn queries() -> [(&'static str, &'static str); 4] {
    use store::queries::{EXPIRE, FIND, HISTORIES, LIST};
    [("find", FIND), ("list", LIST), ("histories", HISTORIES), ("expire", EXPIRE)]
}
