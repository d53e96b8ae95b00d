//! The application behind a listener.

use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use actix_service::map_config;
use actix_web::dev::AppConfig;
use actix_web::{App, web};
use common::telemetry::RequestSampler;
use common::{Service, ServiceContext};
use transport::{ClientQuota, Listener, TimeLimits};
use utoipa_actix_web::AppExt as _;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::config::ServerConfig;
use crate::docs;
use crate::endpoints::{self, Endpoints};
use crate::error::StartError;
use crate::extract::BodyLimits;
use crate::lifecycle::{Lifecycle, MiddlewareState};
use crate::metrics::HttpMetrics;
use crate::openapi;
use crate::rate_limit::RateLimiter;
use crate::routes::{RouteTable, answer_unmatched};

/// What the ports of a service have in common.
pub(crate) struct Shared {
    pub(crate) service: Service,
    pub(crate) config: ServerConfig,
    pub(crate) sampler: Option<RequestSampler>,
    pub(crate) context: ServiceContext,
    pub(crate) http: HttpMetrics,
    pub(crate) rate_limiter: Option<Arc<RateLimiter>>,
    /// Connections are to end with the next answer.
    pub(crate) draining: Arc<AtomicBool>,
    /// What clients hold of the memory budget.
    pub(crate) memory: Arc<ClientQuota>,
    /// What they hold of the file descriptors.
    pub(crate) descriptors: Arc<ClientQuota>,
}

/// What a port serves.
pub(crate) struct Port {
    pub(crate) listener: TcpListener,
    pub(crate) endpoints: Endpoints,
    /// None for plain HTTP.
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
}

/// Serves a port.
pub(crate) fn listen<F>(shared: &Shared, routes: F, port: Port) -> Result<Listener, StartError>
where
    F: Fn(&mut ServiceConfig<'_>) + Clone + Send + 'static,
{
    let Port { listener, endpoints, tls } = port;
    let configure =
        move |config: &mut ServiceConfig<'_>| endpoints::configure(config, &routes, endpoints);
    let document = openapi::document(&shared.service, &configure);
    let table = Arc::new(RouteTable::new(&document));
    let document = web::Data::new(docs::Document::new(shared.service, &document));
    let limits = web::Data::new(BodyLimits {
        bytes: shared.config.body_limit.as_usize(),
        timeout: shared.config.request_timeout,
    });
    let address = listener.local_addr().map_err(StartError::Server)?;
    let is_admin = endpoints.are_of_admin();
    let force_https = shared.config.force_https && !is_admin;
    let rate_limiter = shared.rate_limiter.clone().filter(|_| !is_admin);
    let trusted_proxies = shared.config.trusted_proxies.clone();
    let sampler = shared.sampler.clone();
    let (context, http) = (shared.context.clone(), shared.http.clone());
    let draining = Arc::clone(&shared.draining);
    // Nothing that is injected reaches the port where it can be ended.
    let faults = Some(context.faults.clone()).filter(|faults| faults.is_on() && !is_admin);

    let app = move || {
        let lifecycle = Lifecycle::new(MiddlewareState {
            metrics: http.for_worker(),
            routes: Arc::clone(&table),
            draining: Arc::clone(&draining),
            address,
            trusted_proxies: trusted_proxies.clone(),
            force_https,
            rate_limiter: rate_limiter.clone(),
            sampler: sampler.clone(),
            faults: faults.clone(),
        });
        App::new()
            .app_data(web::Data::new(context.metrics.clone()))
            .app_data(web::Data::new(context.readiness.clone()))
            .app_data(web::Data::new(context.faults.clone()))
            .app_data(web::Data::from(Arc::clone(&table)))
            .app_data(document.clone())
            .app_data(limits.clone())
            .into_utoipa_app()
            .configure(&configure)
            .into_app()
            .default_service(web::to(answer_unmatched))
            .wrap(lifecycle)
    };

    let settings = transport::Settings {
        workers: if is_admin { NonZeroUsize::MIN } else { shared.config.workers },
        limits: TimeLimits {
            head: shared.config.request_timeout,
            grace_period: shared.config.shutdown_grace_period,
        },
        tls,
        memory: Arc::clone(&shared.memory),
        descriptors: Arc::clone(&shared.descriptors),
        open: shared.http.connections.clone(),
        refused: shared.http.refused.clone(),
    };
    let app = move || map_config(app(), |()| AppConfig::default());
    transport::listen(listener, settings, app).map_err(StartError::Server)
}
