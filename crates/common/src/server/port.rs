//! A port: the application behind it, and how its connections are served.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, KeepAlive};
use actix_server::Server;
use actix_service::{ServiceFactoryExt as _, boxed, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::rt::net::TcpStream;
use actix_web::{App, web};
use tokio_util::sync::CancellationToken;
use utoipa_actix_web::AppExt as _;
use utoipa_actix_web::service_config::ServiceConfig;

use super::connection::{Connection, Connections};
use super::observe::{Observe, Worker};
use super::{RouteTable, StartError};
use crate::config::ServerConfig;
use crate::docs::{self, Face};
use crate::extract::BodyLimits;
use crate::{Metrics, RateLimiter, Readiness, Service};

/// How long an idle connection is kept for the next request: longer than the 60 s of common load
/// balancers, so that the balancer and not the server ends it.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// How long the rest of a refused body is read and thrown away, so that the client reads the answer
/// instead of a reset.
const LINGER: Duration = Duration::from_secs(1);

/// What the ports of a service have in common.
pub(super) struct Shared {
    pub(super) service: Service,
    pub(super) config: ServerConfig,
    pub(super) exports_spans: bool,
    pub(super) metrics: Metrics,
    pub(super) readiness: Readiness,
    pub(super) rate_limiter: Option<Arc<RateLimiter>>,
    /// Connections are to end with the next answer.
    pub(super) draining: Arc<AtomicBool>,
    /// Connections between two requests are to end.
    pub(super) end_idle: CancellationToken,
}

/// Serves this face of the service on a port, over TLS or not.
pub(super) fn listen<F>(
    shared: &Shared,
    routes: F,
    listener: TcpListener,
    face: Face,
    tls: Option<Arc<rustls::ServerConfig>>,
) -> Result<Server, StartError>
where
    F: Fn(&mut ServiceConfig<'_>) + Clone + Send + 'static,
{
    let configure = move |config: &mut ServiceConfig<'_>| docs::configure(config, &routes, face);
    let document = docs::document_of(&shared.service, &configure);
    let table = Arc::new(RouteTable::new(&document));
    let document = web::Data::new(docs::Document::new(&document));
    let limits = web::Data::new(BodyLimits {
        bytes: shared.config.body_limit.as_usize(),
        timeout: shared.config.request_timeout,
    });
    let authority = listener.local_addr().map_err(StartError::Server)?.to_string();
    let is_admin = face == Face::Admin;
    let force_https = shared.config.force_https && !is_admin;
    let rate_limiter = shared.rate_limiter.clone().filter(|_| !is_admin);
    let trusted_proxies = shared.config.trusted_proxies.clone();
    let exports_spans = shared.exports_spans;
    let (metrics, readiness) = (shared.metrics.clone(), shared.readiness.clone());
    let draining = Arc::clone(&shared.draining);

    let app = move || {
        let observe = Observe::new(Worker {
            metrics: metrics.http.for_worker(),
            routes: Arc::clone(&table),
            draining: Arc::clone(&draining),
            authority: authority.clone(),
            trusted_proxies: trusted_proxies.clone(),
            force_https,
            rate_limiter: rate_limiter.clone(),
            exports_spans,
        });
        App::new()
            .app_data(web::Data::new(metrics.clone()))
            .app_data(web::Data::new(readiness.clone()))
            .app_data(web::Data::from(Arc::clone(&table)))
            .app_data(document.clone())
            .app_data(limits.clone())
            .into_utoipa_app()
            .configure(&configure)
            .into_app()
            .default_service(web::to(docs::answer_unmatched))
            .wrap(observe)
    };

    let open = shared.metrics.http.connections.clone();
    let head_timeout = shared.config.request_timeout;
    let end_idle = shared.end_idle.clone();
    let workers = if is_admin { 1 } else { shared.config.workers.get() };
    let server = Server::build()
        .workers(workers)
        // Ours comes first; this one ends what outlives it.
        .shutdown_timeout(shared.config.shutdown_grace_period.as_secs() + 1)
        .disable_signals()
        .listen("http", listener, move || {
            let end_idle = end_idle.clone();
            let connections = Connections::new(open.clone(), head_timeout, tls.clone());
            let http = HttpService::build()
                .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
                // `Connection` bounds every head, not only the first.
                .client_request_timeout(Duration::ZERO)
                .client_disconnect_timeout(LINGER)
                .graceful_shutdown_signal(move || end_idle.clone().cancelled_owned())
                // A client that closes its side is taken to be gone, and its request ends.
                .h1_allow_half_closed(false)
                .on_connect_ext(|connection: &Connection, data| {
                    data.insert(connection.state());
                })
                .h1(map_config(app(), |()| AppConfig::default()));
            let accept = fn_service(move |stream: TcpStream| {
                let connections = connections.clone();
                async move {
                    let (connection, peer) = connections.accept(stream).await?;
                    Ok((connection, Some(peer)))
                }
            });
            // Boxed, because actix-server's task keeps two copies of a connection's future.
            boxed::factory(accept.map_err(DispatchError::Io).and_then(http))
        })
        .map_err(StartError::Server)?;
    Ok(server.run())
}
