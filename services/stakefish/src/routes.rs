//! The service's own endpoints.

mod history;
mod instance;
mod tools;
mod v1;

use utoipa_actix_web::service_config::ServiceConfig;

/// Lists the handlers: those without prefix, and those of the challenge's definition under `/v1`.
pub(crate) fn configure(config: &mut ServiceConfig<'_>) {
    config
        .service(instance::get_instance)
        .service(tools::post_lookup)
        .service(tools::post_validate)
        .service(history::get_history)
        .service(instance::get_health)
        .service(v1::scope());
}
