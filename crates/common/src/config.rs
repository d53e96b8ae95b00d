//! Configuration from environment variables, read once at start.
//!
//! A concern is one struct that `envy` fills: the field `body_limit` is the variable `BODY_LIMIT`, its doc
//! comment says what it means, its `Default` what holds without it. [`Loader`] adds what `envy` lacks: every
//! wrong variable is reported in one run, by name and reason and never with its value; an empty variable counts
//! as unset; near misses of known names are pointed out; a [`Secret`] `X` can be given as `X_FILE`; and the
//! effective configuration can be printed.

mod loader;
mod shape;
mod types;

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use loader::{Effective, Invalid, Loader};
pub use types::{ByteSize, LogFilter, LogFormat, Secret};

use crate::Service;

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
        Self {
            server: loader.section(),
            log: loader.section(),
            otlp: loader.section(),
        }
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
        }
    }
}

/// The log.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct LogConfig {
    /// `LOG_LEVEL`: `info`; also takes directives by target, such as `info,sqlx=debug`.
    pub log_level: LogFilter,
    /// `LOG_FORMAT`: `json` or `pretty`; by default `pretty` where stdout is a terminal.
    pub log_format: LogFormat,
    /// `LOG_DIR`: a folder that also gets the lines, none by default.
    pub log_dir: Option<PathBuf>,
}

/// The export of spans.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct OtlpConfig {
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`: a collector that speaks OTLP over HTTP, such as
    /// `http://collector:4318`; without it nothing is exported. The SDK reads the other standard `OTEL_*` variables itself.
    pub otel_exporter_otlp_endpoint: Option<String>,
}
