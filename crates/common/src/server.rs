//! The HTTP server: what surrounds the handlers of every service.

mod connection;
mod observe;
mod port;
mod proxies;
mod routes;
mod running;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio_util::sync::CancellationToken;
use utoipa_actix_web::service_config::ServiceConfig;

pub(crate) use routes::{RouteId, RouteTable};
pub use running::{Running, Stop, StopHandle};

use crate::config::{Config, ServerConfig};
use crate::docs::Face;
use crate::{Metrics, RateLimiter, Readiness, Service, Tasks, tls};

use port::Shared;

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
    /// The certificate or its key cannot be used.
    #[error("cannot speak HTTPS")]
    Tls(#[source] tls::TlsError),
    /// The server's threads cannot be started.
    #[error("cannot start the server")]
    Server(#[source] io::Error),
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
    /// When an address cannot be bound, the certificate is of no use, or the workers cannot be started.
    pub fn serve<F>(self, routes: F) -> Result<Running, StartError>
    where
        F: Fn(&mut ServiceConfig<'_>) + Clone + Send + Sync + 'static,
    {
        raise_open_files_limit();
        let config = &self.config;
        let (listener, address) = bind(config.host, config.port)?;
        let admin = config.admin_port.map(|port| bind(config.host, port)).transpose()?;
        let tls = config
            .tls_files()
            .map(|files| tls::server_config(files, &self.tasks))
            .transpose()
            .map_err(StartError::Tls)?;

        let shared = Shared {
            service: self.service,
            config: config.clone(),
            exports_spans: self.exports_spans,
            metrics: self.metrics.clone(),
            readiness: self.readiness.clone(),
            rate_limiter: RateLimiter::new(config.rate_limit).map(Arc::new),
            draining: Arc::default(),
            end_idle: CancellationToken::new(),
        };
        let face = if admin.is_some() { Face::Public } else { Face::Only };
        let scheme = if tls.is_some() { "https" } else { "http" };
        let server = port::listen(&shared, routes.clone(), listener, face, tls)?;
        let admin = admin
            .map(|(listener, address)| {
                // Plain HTTP: it is for the cluster's own probes and scrapes.
                let server = port::listen(&shared, routes, listener, Face::Admin, None)?;
                Ok::<_, StartError>((server, address))
            })
            .transpose()?;
        let (admin, admin_address) = admin.unzip();
        tracing::info!(
            server.address = %address,
            server.scheme = scheme,
            server.admin_address = admin_address.map(tracing::field::display),
            server.workers = config.workers.get(),
            build.version = self.service.version,
            build.revision = Service::revision(),
            "Listening"
        );
        let parts = running::Parts {
            address,
            admin_address,
            readiness: self.readiness,
            draining: shared.draining,
            end_idle: shared.end_idle,
            active: self.metrics.http.active.clone(),
            tasks: self.tasks,
            drain_delay: self.config.drain_delay,
            grace_period: self.config.shutdown_grace_period,
        };
        Ok(Running::start(server, admin, parts))
    }
}

fn bind(host: IpAddr, port: u16) -> Result<(TcpListener, SocketAddr), StartError> {
    let address = SocketAddr::new(host, port);
    let bind = || {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bind().map_err(|source| StartError::Bind { address, source })
}

/// Every connection is a file; the soft limit of 1 024 is for programs that use `select`.
fn raise_open_files_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(error = %error, "The limit of open files stays low");
    }
}
