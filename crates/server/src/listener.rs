//! A listener: the application behind it, and how its connections are served.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use actix_http::{HttpService, KeepAlive};
use actix_service::map_config;
use actix_web::dev::AppConfig;
use actix_web::{App, web};
use common::telemetry::RequestSampler;
use common::{Service, ServiceContext};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use utoipa_actix_web::AppExt as _;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::acceptor::Acceptor;
use crate::clients::Clients;
use crate::config::ServerConfig;
use crate::connection::{Connection, Connections};
use crate::docs;
use crate::endpoints::{self, Endpoints};
use crate::error::StartError;
use crate::extract::BodyLimits;
use crate::lifecycle::{Lifecycle, Worker};
use crate::metrics::HttpMetrics;
use crate::openapi;
use crate::rate_limit::RateLimiter;
use crate::routes::{RouteTable, answer_unmatched};
use crate::worker::{self, Workers};

/// How long an idle connection is kept for the next request: longer than the 60 s of common load
/// balancers, so that the balancer and not the server ends it.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// How long the rest of a refused body is read and thrown away, so that the client reads the answer
/// instead of a reset.
const LINGER: Duration = Duration::from_secs(1);

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
    pub(crate) clients: Arc<Clients>,
}

/// Serves these endpoints on a listener, over TLS or not.
pub(crate) fn listen<F>(
    shared: &Shared,
    routes: F,
    listener: TcpListener,
    endpoints: Endpoints,
    tls: Option<Arc<rustls::ServerConfig>>,
) -> Result<Listener, StartError>
where
    F: Fn(&mut ServiceConfig<'_>) + Clone + Send + 'static,
{
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
    let is_admin = endpoints == Endpoints::Admin;
    let force_https = shared.config.force_https && !is_admin;
    let rate_limiter = shared.rate_limiter.clone().filter(|_| !is_admin);
    let trusted_proxies = shared.config.trusted_proxies.clone();
    let sampler = shared.sampler.clone();
    let (context, http) = (shared.context.clone(), shared.http.clone());
    let draining = Arc::clone(&shared.draining);

    let app = move || {
        let lifecycle = Lifecycle::new(Worker {
            metrics: http.for_worker(),
            routes: Arc::clone(&table),
            draining: Arc::clone(&draining),
            address,
            trusted_proxies: trusted_proxies.clone(),
            force_https,
            rate_limiter: rate_limiter.clone(),
            sampler: sampler.clone(),
        });
        App::new()
            .app_data(web::Data::new(context.metrics.clone()))
            .app_data(web::Data::new(context.readiness.clone()))
            .app_data(web::Data::from(Arc::clone(&table)))
            .app_data(document.clone())
            .app_data(limits.clone())
            .into_utoipa_app()
            .configure(&configure)
            .into_app()
            .default_service(web::to(answer_unmatched))
            .wrap(lifecycle)
    };

    let number = if is_admin { 1 } else { shared.config.workers.get() };
    let shutdown = Shutdown::default();
    let workers = worker::Shared {
        open: shared.http.connections.clone(),
        fresh: Arc::clone(&shutdown.fresh),
        abort: shutdown.abort.clone(),
        ended: shutdown.ended.subscribe(),
    };
    let plain = tls.is_none();
    let (head_timeout, end_idle) = (shared.config.request_timeout, shutdown.end_idle.clone());
    let build = move || {
        let connections = Connections::new(head_timeout, tls.clone(), end_idle.clone());
        let end_idle = end_idle.clone();
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
        (connections, http)
    };
    let acceptor = Acceptor {
        listener,
        workers: Workers::start(number, &workers, build).map_err(StartError::Server)?,
        clients: Arc::clone(&shared.clients),
        refused: shared.http.refused.clone(),
        plain,
    };
    let stop = shutdown.close.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(StartError::Server)?;
    let accept = move || {
        if let Err(error) = runtime.block_on(acceptor.run(stop)) {
            tracing::error!(error = %error, "Connections are not accepted");
        }
    };
    thread::Builder::new().name("acceptor".into()).spawn(accept).map_err(StartError::Server)?;
    Ok(Listener(shutdown))
}

/// What ends a listener, step by step.
#[derive(Debug, Default)]
struct Shutdown {
    close: CancellationToken,
    end_idle: CancellationToken,
    abort: CancellationToken,
    fresh: Arc<AtomicUsize>,
    ended: watch::Sender<()>,
}

/// A port that is served; dropped, it is closed and its connections end.
#[derive(Debug)]
pub(crate) struct Listener(Shutdown);

impl Listener {
    /// Accepts what is in the backlog and closes the socket.
    pub(crate) fn close(&self) {
        self.0.close.cancel();
    }

    /// How many connections have not sent a whole head yet.
    pub(crate) fn fresh(&self) -> usize {
        self.0.fresh.load(Ordering::Relaxed)
    }

    /// Waits until all connections have ended; idle ones end now.
    pub(crate) async fn ended(&self) {
        self.0.end_idle.cancel();
        self.0.ended.closed().await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.close.cancel();
        self.0.abort.cancel();
    }
}
