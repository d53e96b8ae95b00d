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

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use loader::{Effective, Invalid, Loader};
pub use types::{ByteSize, LogFilter, LogFormat, Networks, RateLimit, Secret};

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

impl OtlpConfig {
    /// Reads the variables of the export of spans. Problems stay with the loader until
    /// [`Loader::finish`].
    pub fn load(loader: &mut Loader) -> Self {
        let config: Self = loader.section();
        config.check(loader);
        config
    }

    fn check(&self, loader: &mut Loader) {
        let Some(endpoint) = &self.otel_exporter_otlp_endpoint else { return };
        let is_http = |url: reqwest::Url| ["http", "https"].contains(&url.scheme());
        if !reqwest::Url::parse(endpoint).is_ok_and(is_http) {
            loader.problem(
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "expected a URL such as http://collector:4318",
            );
        }
    }
}
