//! Which instance answers, and that it does.

use std::sync::LazyLock;
use std::time::SystemTime;

use actix_web::http::header::VARY;
use actix_web::{HttpRequest, HttpResponse, get, web};
use serde::Serialize;
use serde_json::{Value, json};
use server::{HtmlPage, page_parts};
use utoipa::ToSchema;

use crate::config::{Config, SERVICE};

static PAGE: LazyLock<HtmlPage> =
    LazyLock::new(|| HtmlPage::new(&SERVICE, SERVICE.name, page_parts!("instance/page")));

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

/// The version of the service, its time, and where it runs; for a client that prefers HTML a page that looks names up.
#[utoipa::path(
    tag = "stakefish",
    responses((status = 200, description = "The instance that answered", content(
        (Instance = "application/json"),
        (String = "text/html"),
    ))),
)]
#[get("/")]
pub(crate) async fn get_instance(request: HttpRequest, config: web::Data<Config>) -> HttpResponse {
    PAGE.answer(&request).unwrap_or_else(|| {
        let date = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        let instance = Instance { version: SERVICE.version, date, kubernetes: config.kubernetes };
        HttpResponse::Ok().insert_header((VARY, "accept")).json(instance)
    })
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
