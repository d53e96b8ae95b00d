//! The HTTP server: what surrounds the handlers of every service.

mod connection;
mod observe;
mod routes;
mod running;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use actix_http::{HttpService, KeepAlive, Protocol};
use actix_service::{ServiceFactoryExt as _, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::rt::net::TcpStream;
use actix_web::{App, web};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio_util::sync::CancellationToken;
use utoipa_actix_web::AppExt as _;
use utoipa_actix_web::service_config::ServiceConfig;

pub(crate) use routes::{RouteId, RouteTable};
pub use running::{Running, Stop, StopHandle};

use crate::config::{Config, ServerConfig};
use crate::{Metrics, Readiness, Service, Tasks, docs};

use connection::{Connection, Connections};
use observe::{Observe, Worker};

/// How long an idle connection is kept for the next request: longer than the 60 s of common load
/// balancers, so that the balancer and not the server ends it.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// How long the rest of a refused body is read and thrown away, so that the client reads the answer
/// instead of a reset.
const LINGER: Duration = Duration::from_secs(1);

/// Why a service could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address, from `HOST` and `PORT`.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Something else that the service needs from the start.
    #[error("cannot start")]
    Other(#[from] Box<dyn std::error::Error + Send + Sync>),
}

/// The parts that a service is assembled from, made before its own state.
#[derive(Debug)]
pub struct Kit {
    service: Service,
    config: ServerConfig,
    exports_spans: bool,
    /// Where the service registers its metrics.
    pub metrics: Metrics,
    /// Where the service says what it depends on.
    pub readiness: Readiness,
    /// Where the service starts background work.
    pub tasks: Tasks,
}

impl Kit {
    /// The parts, from the configuration that all services share.
    #[must_use]
    pub fn new(service: Service, config: &Config) -> Self {
        let metrics = Metrics::new(&service);
        Self {
            service,
            config: config.server.clone(),
            exports_spans: config.otlp.otel_exporter_otlp_endpoint.is_some(),
            readiness: Readiness::new(&metrics),
            metrics,
            tasks: Tasks::default(),
        }
    }

    /// Binds, starts the workers and answers. Must be called inside a tokio runtime.
    ///
    /// `routes` is called once for each worker and once for the OpenAPI document.
    ///
    /// # Errors
    /// When the address cannot be bound or the workers cannot be started.
    pub fn serve<F>(self, routes: F) -> Result<Running, StartError>
    where
        F: Fn(&mut ServiceConfig<'_>) + Clone + Send + Sync + 'static,
    {
        raise_open_files_limit();
        let config = self.config;
        let address = SocketAddr::new(config.host, config.port);
        let bind_error = |source| StartError::Bind { address, source };
        let listener = TcpListener::bind(address).map_err(bind_error)?;
        let address = listener.local_addr().map_err(bind_error)?;

        let document = docs::document(&self.service, &routes);
        let table = Arc::new(RouteTable::new(&document));
        let document = web::Data::new(docs::Document::new(&document));
        let draining = Arc::new(AtomicBool::new(false));
        let limits = web::Data::new(crate::extract::BodyLimits {
            bytes: config.body_limit.as_usize(),
            timeout: config.request_timeout,
        });
        let (metrics, readiness) = (self.metrics.clone(), self.readiness.clone());
        let (flag, exports_spans) = (Arc::clone(&draining), self.exports_spans);

        let app = move || {
            let observe = Observe::new(Worker {
                metrics: metrics.http.for_worker(),
                routes: Arc::clone(&table),
                draining: Arc::clone(&flag),
                authority: address.to_string(),
                exports_spans,
            });
            App::new()
                .app_data(web::Data::new(metrics.clone()))
                .app_data(web::Data::new(readiness.clone()))
                .app_data(web::Data::from(Arc::clone(&table)))
                .app_data(document.clone())
                .app_data(limits.clone())
                .into_utoipa_app()
                .configure(&routes)
                .configure(docs::operations)
                .into_app()
                .default_service(web::to(docs::answer_unmatched))
                .wrap(observe)
        };
        let end_idle = CancellationToken::new();
        let end_idle_here = end_idle.clone();
        let (open, head_timeout) = (
            self.metrics.http.connections.clone(),
            config.request_timeout,
        );
        let server = actix_server::Server::build()
            .workers(config.workers.get())
            .shutdown_timeout(config.shutdown_grace_period.as_secs() + 1)
            .disable_signals()
            .listen("http", listener, move || {
                let end_idle = end_idle_here.clone();
                let connections = Connections::new(open.clone(), head_timeout);
                let http = HttpService::build()
                    .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
                    // `Connection` bounds every head, not only the first.
                    .client_request_timeout(Duration::ZERO)
                    .client_disconnect_timeout(LINGER)
                    // A client that closes its side is taken to be gone, and its request ends.
                    .h1_allow_half_closed(false)
                    .graceful_shutdown_signal(move || end_idle.clone().cancelled_owned())
                    .on_connect_ext(|connection: &Connection<TcpStream>, data| {
                        data.insert(connection.state());
                    })
                    .finish(map_config(app(), |()| AppConfig::default()));
                fn_service(move |stream: TcpStream| {
                    let connection = connections.accept(stream);
                    async move {
                        let (connection, peer) = connection?;
                        Ok((connection, Protocol::Http1, Some(peer)))
                    }
                })
                .map_err(actix_http::error::DispatchError::Io)
                .and_then(http)
            })
            .map_err(bind_error)?
            .run();

        tracing::info!(
            server.address = %address,
            server.workers = config.workers.get(),
            build.version = self.service.version,
            build.revision = Service::REVISION,
            "Listening"
        );
        let parts = running::Parts {
            address,
            readiness: self.readiness,
            draining,
            end_idle,
            active: self.metrics.http.active.clone(),
            tasks: self.tasks,
            drain_delay: config.drain_delay,
            grace_period: config.shutdown_grace_period,
        };
        Ok(Running::start(server, parts))
    }
}

/// Every connection is a file; the soft limit of 1 024 is for programs that use `select`.
fn raise_open_files_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: maximum,
                maximum,
            },
        )
    {
        tracing::warn!(error = %error, "The limit of open files stays low");
    }
}
