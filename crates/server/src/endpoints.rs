//! The endpoints of a service: its own, and those that every service has.

use actix_web::web;
use common::Service;
use utoipa::openapi::OpenApi;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::routes::PAGE_PARTS;
use crate::{docs, faults, openapi, operations};

/// Which endpoints a listener has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoints {
    /// All: there is no other port.
    All,
    /// All but the metrics, which are on the admin port.
    Public,
    /// Probes and metrics, and faults if they can be injected.
    Admin { faults: bool },
}

impl Endpoints {
    /// Whether they are those of the admin port.
    pub(crate) fn are_of_admin(self) -> bool {
        matches!(self, Self::Admin { .. })
    }
}

/// The endpoints that a port has: the service's own and those that every service has.
pub(crate) fn configure(
    config: &mut ServiceConfig<'_>,
    routes: impl Fn(&mut ServiceConfig<'_>),
    endpoints: Endpoints,
) {
    if !endpoints.are_of_admin() {
        routes(config);
    }
    config.service(operations::get_liveness).service(operations::get_readiness);
    if endpoints != Endpoints::Public {
        config.service(operations::get_metrics);
    }
    if !endpoints.are_of_admin() {
        config
            .service(docs::get_openapi)
            .service(docs::get_docs)
            .route(PAGE_PARTS, web::get().to(docs::get_docs_file));
    }
    if endpoints == (Endpoints::Admin { faults: true }) {
        config
            .service(docs::get_openapi)
            .service(faults::get_faults)
            .service(faults::put_faults)
            .service(faults::delete_faults);
    }
}

/// The OpenAPI document of the admin port, the same for every service.
pub(crate) fn admin_document() -> OpenApi {
    let admin = Service {
        name: "admin",
        version: env!("CARGO_PKG_VERSION"),
        description: "What every service answers on its ADMIN_PORT; `/faults` only with FAULT_INJECTION",
        log_name: "admin",
        default_port: 0,
        readme: "",
    };
    let mut document = openapi::document(&admin, |config: &mut ServiceConfig<'_>| {
        configure(config, |_| {}, Endpoints::Admin { faults: true });
    });
    // The README is a service's.
    document.external_docs = None;
    document
}

/// The OpenAPI document of a service with these routes, the common endpoints included.
pub fn document(service: &Service, routes: impl Fn(&mut ServiceConfig<'_>)) -> OpenApi {
    openapi::document(service, |config: &mut ServiceConfig<'_>| {
        configure(config, &routes, Endpoints::All);
    })
}
