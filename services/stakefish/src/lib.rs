#![doc = include_str!("../README.md")]

mod command;
mod config;
mod domain;
mod error;
mod lookup;
mod resolver;
mod routes;
mod store;

use actix_web::web::Data;
use server::{Application, Running, StartError};
use utoipa::openapi::OpenApi;

pub use command::Command;
pub use config::{Config, DnsServers, LookupConfig, SERVICE};
pub use store::SCHEMA;

use lookup::Lookups;
use store::Store;

/// Starts the service. Must be called inside a tokio runtime.
///
/// # Errors
/// When its address cannot be listened on.
pub fn build(config: &Config) -> Result<Running, StartError> {
    let application = Application::new(SERVICE, &config.common);
    let store = Store::start(config, &application.context)?;
    let lookups = Data::new(Lookups::new(&config.lookups, store.clone(), &application.context)?);
    let (store, config) = (Data::new(store), Data::new(config.clone()));
    application.serve(move |routes| {
        routes.app_data(lookups.clone()).app_data(store.clone()).app_data(config.clone());
        routes.configure(routes::configure);
    })
}

/// The OpenAPI document.
#[must_use]
pub fn document() -> OpenApi {
    server::document(&SERVICE, routes::configure)
}
