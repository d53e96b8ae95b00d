#![doc = include_str!("../README.md")]

mod command;
mod config;
mod error;
mod metrics;
mod routes;
mod spans;
mod store;
mod worker;

use std::convert::Infallible;
use std::sync::Arc;

use actix_web::web::Data;
use common::{Service, ServiceContext};
use server::{Application, Running, StartError};
use utoipa::openapi::OpenApi;

pub use command::Command;
pub use config::{AuthConfig, Config, JobsConfig, StoresConfig};

use metrics::JobMetrics;
use routes::User;
use store::Store;
use store::distributed::Distributed;
use store::embedded::Embedded;

/// Who this service is, as a server.
pub const SERVICE: Service = Service { log_name: "server", ..common::service!(port: 5000) };

/// Who it is as a worker.
pub const WORKER: Service = Service { log_name: "worker", default_port: 5004, ..SERVICE };

/// Starts the server. Must be called inside a tokio runtime.
///
/// # Errors
/// When its address cannot be listened on.
pub fn build(config: &Config) -> Result<Running, StartError> {
    let application = Application::new(SERVICE, &config.common);
    let store = open(config, &application.context)?;
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
        context.secrets.live(password, |password| Ok::<_, Infallible>(password.clone()));
    Some(User { name: name.clone(), password })
}

/// Starts the worker, which serves what every service serves. Must be called inside a tokio runtime.
///
/// # Errors
/// When its address cannot be listened on.
pub fn build_worker(config: &Config) -> Result<Running, StartError> {
    let application = Application::new(WORKER, &config.common);
    let store = open(config, &application.context)?;
    application.context.tasks.spawn_until(|stop| worker::run(store, stop));
    application.serve(|_| {})
}

/// The stores that are configured, with their readiness checks and gauges. They connect when needed.
fn open(config: &Config, context: &ServiceContext) -> Result<Arc<dyn Store>, StartError> {
    let metrics = context.metrics.register(JobMetrics::register);
    let store: Arc<dyn Store> = match (&config.stores.redis_url, &config.stores.mongo_url) {
        (Some(redis), Some(mongo)) => {
            Distributed::open((redis, mongo), config, context, metrics.clone())?
        }
        _ => Embedded::open(config, context, metrics.clone())?,
    };
    context.tasks.spawn(worker::sample_queue(Arc::clone(&store), metrics));
    Ok(store)
}

/// The OpenAPI document of the server.
#[must_use]
pub fn document() -> OpenApi {
    server::document(&SERVICE, routes::configure)
}
