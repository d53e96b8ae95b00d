//! The service's own endpoints.

mod api_1;
mod external_logs;
mod health_check;

use utoipa_actix_web::service_config::ServiceConfig;

/// Lists the handlers.
pub(crate) fn configure(config: &mut ServiceConfig<'_>) {
    config
        .service(api_1::get_api_1)
        .service(external_logs::get_external_logs)
        .service(health_check::get_health_check);
}
