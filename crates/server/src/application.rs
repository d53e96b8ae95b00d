//! A service's application: what surrounds its handlers, from start to stop.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;

use common::memory::Budget;
use common::telemetry::RequestSampler;
use common::{Service, ServiceContext};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use transport::{ClientQuota, Scheme, tls};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::config::{Config, ServerConfig};
use crate::endpoints::Endpoints;
use crate::error::StartError;
use crate::listener::{self, Port, Shared};
use crate::metrics::HttpMetrics;
use crate::rate_limit::RateLimiter;
use crate::running::{self, Running};

/// The builder of a service: its context first, for the service's own parts, then the server.
#[derive(Debug)]
pub struct Application {
    service: Service,
    config: ServerConfig,
    sampler: Option<RequestSampler>,
    /// What the parts of the service share.
    pub context: ServiceContext,
}

impl Application {
    /// An application with the configuration that all services share.
    #[must_use]
    pub fn new(service: Service, config: &Config) -> Self {
        let context = ServiceContext::new(&service, config.server.memory)
            .reading_secrets_every(config.server.secrets_reload_interval);
        let has_faults = config.server.fault_injection && config.server.admin_port.is_some();
        Self {
            service,
            config: config.server.clone(),
            sampler: RequestSampler::new(&config.otlp),
            context: if has_faults { context.with_faults() } else { context },
        }
    }

    /// Binds, starts the workers and answers. Must be called inside a tokio runtime.
    ///
    /// `routes` is called once for the OpenAPI document, once for each worker, and again where a worker's thread is
    /// replaced after a crowd.
    ///
    /// # Errors
    /// When an address cannot be bound, the certificate is of no use, or the workers cannot be started.
    pub fn serve<F>(self, routes: F) -> Result<Running, StartError>
    where
        F: Fn(&mut ServiceConfig<'_>) + Clone + Send + Sync + 'static,
    {
        let open_files = raise_open_files_limit();
        let config = &self.config;
        let (listener, address) = bind(config.host, config.port)?;
        let admin = config.admin_port.map(|port| bind(config.host, port)).transpose()?;
        let tls = config
            .tls_files()
            .map(|files| tls::server_config(&files, &self.context))
            .transpose()
            .map_err(StartError::Tls)?;

        let shared = Shared {
            service: self.service,
            config: config.clone(),
            sampler: self.sampler,
            http: self.context.metrics.register(HttpMetrics::register),
            context: self.context.clone(),
            rate_limiter: RateLimiter::new(config.rate_limit).map(Arc::new),
            draining: Arc::default(),
            memory: Arc::new(ClientQuota::new(self.context.memory.clone(), config.client_share.0)),
            descriptors: Arc::new(ClientQuota::new(
                Budget::without_metrics(open_files / 5 * 4),
                config.client_share.0,
            )),
        };
        let of_admin = Endpoints::Admin { faults: self.context.faults.is_on() };
        let endpoints = if admin.is_some() { Endpoints::Public } else { Endpoints::All };
        let scheme = if tls.is_some() { Scheme::Https } else { Scheme::Http };
        let port = Port { listener, endpoints, tls };
        let server = listener::listen(&shared, routes.clone(), port)?;
        let admin = admin
            .map(|(listener, address)| {
                // Plain HTTP: it is for the cluster's own probes and scrapes.
                let port = Port { listener, endpoints: of_admin, tls: None };
                let server = listener::listen(&shared, routes, port)?;
                Ok::<_, StartError>((server, address))
            })
            .transpose()?;
        let (admin, admin_address) = admin.unzip();
        tracing::info!(
            server.address = %address,
            server.scheme = scheme.as_str(),
            server.admin_address = admin_address.map(tracing::field::display),
            server.workers = config.workers.get(),
            build.version = self.service.version,
            build.revision = Service::revision(),
            "Listening"
        );
        if self.context.faults.is_on() {
            tracing::warn!(
                server.admin_address = admin_address.map(tracing::field::display),
                "FAULT_INJECTION is on: whoever reaches the admin port can make requests fail"
            );
        }
        let shutdown = running::ShutdownContext {
            address,
            admin_address,
            context: self.context,
            draining: shared.draining,
            active: shared.http.active,
            drain_delay: self.config.drain_delay,
            grace_period: self.config.shutdown_grace_period,
        };
        Ok(Running::start(server, admin, shutdown))
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

/// Every connection is a file; the soft limit of 1 024 is for programs that use `select`. Returns how many files may
/// be open, of which clients get four in five: the service's own files, stores and upstreams need some.
fn raise_open_files_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(error = %error, "Cannot raise RLIMIT_NOFILE");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
