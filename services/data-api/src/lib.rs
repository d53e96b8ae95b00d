#![doc = include_str!("../README.md")]

mod config;
mod error;
mod log_files;
mod routes;

use actix_web::web::Data;
use server::{Application, Running, StartError};
use utoipa::openapi::OpenApi;

pub use config::{Config, LogFilesConfig, ProcessingConfig, SERVICE};

use log_files::LogFiles;

/// Starts the service. Must be called inside a tokio runtime.
///
/// # Errors
/// When its address cannot be listened on.
pub fn build(config: &Config) -> Result<Running, StartError> {
    let application = Application::new(SERVICE, &config.common);
    let files = Data::new(LogFiles::start(&config.log_files, &application.context));
    let keys = config.log_files.logs_api_key.as_ref();
    let keys = keys.map(|keys| application.context.secrets.reloadable(keys, config::api_keys));
    let keys = keys.transpose().map_err(|error| StartError::Other(error.into()))?;
    let (keys, config) = (Data::new(keys), Data::new(config.clone()));
    application.serve(move |routes| {
        routes.app_data(files.clone()).app_data(keys.clone()).app_data(config.clone());
        routes.configure(routes::configure);
    })
}

/// The OpenAPI document.
#[must_use]
pub fn document() -> OpenApi {
    server::document(&SERVICE, routes::configure)
}
