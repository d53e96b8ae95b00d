#![doc = include_str!("../README.md")]

mod command;
mod config;
mod error;
mod metrics;
mod routes;
mod store;
mod worker;

use std::convert::Infallible;
use std::sync::Arc;

use actix_web::web::Data;
use common::ServiceContext;
use server::{Application, Running, StartError};
use utoipa::openapi::OpenApi;

pub use command::Command;
pub use config::{AuthConfig, Config, JobsConfig, SERVICE, StoresConfig, WORKER};
pub use worker::build as build_worker;

use routes::User;

/// Starts the server. Must be called inside a tokio runtime.
///
/// # Errors
/// When its address cannot be listened on.
pub fn build(config: &Config) -> Result<Running, StartError> {
    let application = Application::new(SERVICE, &config.common);
    let store = store::open(config, &application.context)?;
    if config.stores.redis_url.is_none() {
        // With the embedded store the worker is part of the server.
        let store = Arc::clone(&store);
        application.context.tasks.spawn_until(|stop| worker::run(store, stop));
    }
    let user = user(config, &application.context);
    let (store, user) = (Data::from(store), Data::new(user));
    application.serve(move |routes| {
        routes.app_data(store.clone()).app_data(user.clone()).configure(routes::configure);
    })
}

/// Who may change data, if not anybody.
fn user(config: &Config, context: &ServiceContext) -> Option<User> {
    let AuthConfig { auth_username: Some(name), auth_password: Some(password) } = &config.auth
    else {
        return None;
    };
    let Ok(password) =
        context.secrets.reloadable(password, |password| Ok::<_, Infallible>(password.clone()));
    Some(User { name: name.clone(), password })
}

/// The OpenAPI document of the server.
#[must_use]
pub fn document() -> OpenApi {
    server::document(&SERVICE, routes::configure)
}
