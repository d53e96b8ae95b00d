//! The endpoints of a service: its own, and those that every service has.

use actix_web::web;
use common::Service;
use utoipa::openapi::OpenApi;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::routes::PAGE_PARTS;
use crate::{docs, openapi, operations};

/// Which endpoints a listener has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoints {
    /// All: there is no other port.
    All,
    /// All but the metrics, which are on the admin port.
    Public,
    /// Probes and metrics.
    Admin,
}

/// The endpoints that a port has: the service's own and those that every service has.
pub(crate) fn configure(
    config: &mut ServiceConfig<'_>,
    routes: impl Fn(&mut ServiceConfig<'_>),
    endpoints: Endpoints,
) {
    if endpoints != Endpoints::Admin {
        routes(config);
    }
    config.service(operations::get_liveness).service(operations::get_readiness);
    if endpoints != Endpoints::Public {
        config.service(operations::get_metrics);
    }
    if endpoints != Endpoints::Admin {
        config
            .service(docs::get_openapi)
            .service(docs::get_docs)
            .route(PAGE_PARTS, web::get().to(docs::get_docs_file));
    }
}

/// The OpenAPI document of a service with these routes, the common endpoints included.
pub fn document(service: &Service, routes: impl Fn(&mut ServiceConfig<'_>)) -> OpenApi {
    openapi::document(service, |config: &mut ServiceConfig<'_>| {
        configure(config, &routes, Endpoints::All);
    })
}
