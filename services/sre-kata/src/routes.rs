//! The service's own endpoints.

mod healthcheck;
mod home;
mod query;

use utoipa_actix_web::service_config::ServiceConfig;

/// Lists the handlers.
pub(crate) fn configure(config: &mut ServiceConfig<'_>) {
    config
        .service(home::get_home)
        .service(query::get_query)
        .service(query::post_query)
        .service(healthcheck::get_healthcheck);
}
