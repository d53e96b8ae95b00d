//! The service's own endpoints.

mod logs;
mod processing;

use actix_web::get;
use utoipa_actix_web::service_config::ServiceConfig;

/// Lists the handlers.
pub(crate) fn configure(config: &mut ServiceConfig<'_>) {
    config
        .service(processing::get_processing)
        .service(get_health_check)
        .service(logs::get_logs)
        // Before the names, which it looks like.
        .service(logs::get_logs_download)
        // Last: what comes behind it is matched with its pattern first.
        .service(logs::get_log);
}

server::liveness!(get_health_check, "/health_check", "healthy");
