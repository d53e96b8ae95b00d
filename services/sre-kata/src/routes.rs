//! The service's own endpoints.

mod home;
mod query;

use actix_web::get;
use utoipa_actix_web::service_config::ServiceConfig;

/// Lists the handlers.
pub(crate) fn configure(config: &mut ServiceConfig<'_>) {
    config
        .service(home::get_home)
        .service(query::get_query)
        .service(query::post_query)
        .service(get_healthcheck);
}

server::liveness!(get_healthcheck, "/healthcheck", "OK");
