//! The configuration that every service shares.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use common::config::{ByteSize, LogConfig, Networks, OtlpConfig, RateLimit};
use common::memory::MemoryLimit;
use common::{Loader, Service, causes};
use serde::{Deserialize, Serialize};
use transport::tls;

/// What every service is configured by.
#[derive(Clone, Debug)]
pub struct Config {
    /// The HTTP server.
    pub server: ServerConfig,
    /// The log.
    pub log: LogConfig,
    /// The export of spans.
    pub otlp: OtlpConfig,
}

impl Config {
    /// Reads the variables that all services share. Problems stay with the loader until
    /// [`Loader::finish`]; what could not be read has its default until then.
    pub fn load(service: &Service, loader: &mut Loader) -> Self {
        loader.default_value("PORT", &service.default_port.to_string());
        if loader.is_set("KUBERNETES_SERVICE_HOST") {
            loader.default_value("DRAIN_DELAY", "3s");
        }
        let mut server: ServerConfig = loader.section();
        server.memory = MemoryLimit::detect(server.memory_limit.map(|limit| limit.0));
        loader.note(format!("{} bytes of memory: {}", server.memory.bytes, server.memory.source));
        server.check(loader);
        Self { server, log: loader.section(), otlp: OtlpConfig::load(loader) }
    }
}

/// The HTTP server.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct ServerConfig {
    /// `HOST`: the address to listen on, `0.0.0.0`.
    pub host: IpAddr,
    /// `PORT`: the port to listen on, by default the service's own; 0 takes a free one.
    pub port: u16,
    /// `WORKERS`: threads that serve requests, one for each core that the process may use.
    pub workers: NonZeroUsize,
    /// `BODY_LIMIT`: the largest request body, `64KiB`.
    pub body_limit: ByteSize,
    /// `REQUEST_TIMEOUT`: how long a request's head may take, and each 64 KiB of its body, `10s`.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// `DRAIN_DELAY`: how long requests are still taken after SIGTERM, so that load balancers see
    /// `/readyz` first; `3s` under Kubernetes, else `0s`.
    #[serde(with = "humantime_serde")]
    pub drain_delay: Duration,
    /// `SHUTDOWN_GRACE_PERIOD`: how long requests that were read may take to finish after that, `20s`.
    #[serde(with = "humantime_serde")]
    pub shutdown_grace_period: Duration,
    /// `ADMIN_PORT`: a port of its own for `/healthz`, `/readyz` and `/metrics`, open until the process
    /// ends; `/metrics` is then on that port alone. None by default.
    pub admin_port: Option<u16>,
    /// `FAULT_INJECTION`: whether faults can be injected by `/faults` on the admin port, which it needs; `false`.
    pub fault_injection: bool,
    /// `TLS_CERT_FILE`: the certificate chain in PEM form; with `TLS_KEY_FILE` the service speaks HTTPS.
    pub tls_cert_file: Option<PathBuf>,
    /// `TLS_KEY_FILE`: the key of the certificate, in PEM form.
    pub tls_key_file: Option<PathBuf>,
    /// `SECRETS_RELOAD_INTERVAL`: how often the files of secrets and certificates are read again, `10s`, at least
    /// 10 ms.
    #[serde(with = "humantime_serde")]
    pub secrets_reload_interval: Duration,
    /// `TRUSTED_PROXIES`: networks whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed; none by
    /// default.
    pub trusted_proxies: Networks,
    /// `FORCE_HTTPS`: whether clients that a trusted proxy reports as speaking plain HTTP are sent to
    /// HTTPS, and the others told to stay there; `false`.
    pub force_https: bool,
    /// `MEMORY_LIMIT`: how much memory the process may use, as `128MiB`; by default, and at most, what its
    /// cgroup allows, else the machine's memory.
    pub memory_limit: Option<ByteSize>,
    /// `CLIENT_SHARE`: the part of the memory budget that one client address may hold while others want
    /// some, `0.25`.
    pub client_share: Share,
    /// What limits the memory of the process.
    #[serde(skip)]
    pub memory: MemoryLimit,
    /// `RATE_LIMIT`: how many requests an address may make of this process, `none`.
    pub rate_limit: RateLimit,
}

impl ServerConfig {
    /// The files for HTTPS, if it is wanted.
    pub(crate) fn tls_files(&self) -> Option<tls::Files> {
        Some(tls::Files {
            certificates: self.tls_cert_file.clone()?,
            key: self.tls_key_file.clone()?,
        })
    }

    /// Notes what does not go together.
    fn check(&self, loader: &mut Loader) {
        match (&self.tls_cert_file, &self.tls_key_file) {
            (Some(_), None) => loader.problem("TLS_KEY_FILE", "is required with TLS_CERT_FILE"),
            (None, Some(_)) => loader.problem("TLS_CERT_FILE", "is required with TLS_KEY_FILE"),
            _ => {}
        }
        let files = self.tls_files();
        if let Some(Err(error)) = files.as_ref().map(tls::Files::check) {
            loader.problem("TLS_CERT_FILE, TLS_KEY_FILE", causes(&error));
        }
        if self.force_https && self.trusted_proxies.is_empty() && files.is_none() {
            loader
                .problem("FORCE_HTTPS", "needs TRUSTED_PROXIES or TLS_CERT_FILE and TLS_KEY_FILE");
        }
        if self.request_timeout.is_zero() {
            loader.problem("REQUEST_TIMEOUT", "must be more than 0s");
        }
        if self.secrets_reload_interval < Duration::from_millis(10) {
            loader.problem("SECRETS_RELOAD_INTERVAL", "must be at least 10ms");
        }
        if self.fault_injection && self.admin_port.is_none() {
            loader.problem("FAULT_INJECTION", "needs ADMIN_PORT");
        }
        if self.port != 0 && self.admin_port == Some(self.port) {
            loader.problem("ADMIN_PORT", "is the same as PORT");
        }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            host: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            port: 0,
            // Respects CPU affinity and the cgroup's quota.
            workers: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            body_limit: ByteSize(64 * 1024),
            request_timeout: Duration::from_secs(10),
            drain_delay: Duration::ZERO,
            shutdown_grace_period: Duration::from_secs(20),
            admin_port: None,
            fault_injection: false,
            tls_cert_file: None,
            tls_key_file: None,
            secrets_reload_interval: Duration::from_secs(10),
            trusted_proxies: Networks::default(),
            force_https: false,
            memory_limit: None,
            client_share: Share::default(),
            // Looked up by `Config::load`, once: a default is made for each variable that is read.
            memory: MemoryLimit::NONE,
            rate_limit: RateLimit::default(),
        }
    }
}

/// A part of a whole: more than 0, at most 1.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "f64")]
pub struct Share(pub(crate) f64);

impl Default for Share {
    fn default() -> Self {
        Self(0.25)
    }
}

impl TryFrom<f64> for Share {
    type Error = &'static str;

    fn try_from(share: f64) -> Result<Self, Self::Error> {
        (share > 0.0 && share <= 1.0).then_some(Self(share)).ok_or("expected a part such as 0.25")
    }
}
