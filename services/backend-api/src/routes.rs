//! The service's own endpoints.

mod api_1;
mod external_logs;

use actix_web::get;
use utoipa_actix_web::service_config::ServiceConfig;

/// Lists the handlers.
pub(crate) fn configure(config: &mut ServiceConfig<'_>) {
    config
        .service(api_1::get_api_1)
        .service(external_logs::get_external_logs)
        .service(get_health_check);
}

server::liveness!(get_health_check, "/health_check", "healthy");
