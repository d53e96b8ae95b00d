//! Which instance answers, and that it does.

use std::time::SystemTime;

use actix_web::{get, web};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::config::{Config, SERVICE};

/// The instance that answers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Instance {
    /// The service's version.
    version: &'static str,
    /// Its time, in seconds since 1970.
    date: u64,
    /// Whether it runs under Kubernetes.
    kubernetes: bool,
}

/// The version of the service, its time, and where it runs.
#[utoipa::path(
    tag = "stakefish",
    responses((status = 200, description = "The instance that answered", body = Instance)),
)]
#[get("/")]
pub(crate) async fn get_instance(config: web::Data<Config>) -> web::Json<Instance> {
    let date = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
    web::Json(Instance { version: SERVICE.version, date, kubernetes: config.kubernetes })
}

/// Whether the process lives, as the original program answers it.
#[utoipa::path(
    tag = "operations",
    responses((status = 200, description = "It lives", body = Value, example = json!({"status": "up"}))),
)]
#[get("/health")]
pub(crate) async fn get_health() -> web::Json<Value> {
    web::Json(json!({"status": "up"}))
}
