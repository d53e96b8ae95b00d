//! Configuration from environment variables, read once at start.
//!
//! A concern is one struct that `envy` fills: the field `body_limit` is the variable `BODY_LIMIT`, its doc
//! comment says what it means, its `Default` what holds without it. [`Loader`] adds what `envy` lacks: every
//! wrong variable is reported in one run, by name and reason and never with its value; an empty variable counts
//! as unset; near misses of known names are pointed out; a [`Secret`] `X` can be given as `X_FILE`; and the
//! effective configuration can be printed.

mod loader;
mod otlp;
mod shape;
mod types;

use std::num::NonZeroU16;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use loader::{Effective, Invalid, Loader};
pub use otlp::{OtlpProtocol, ResourceAttributes, TracesSampler};
pub use secrets::Secret;
pub use types::{ByteSize, LogFilter, LogFormat, Networks, RateLimit};

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

/// The export of spans, by OpenTelemetry's standard variables
/// (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>). The SDK reads
/// its other variables itself.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct OtlpConfig {
    /// `OTEL_SDK_DISABLED`: `true` exports nothing; `false`.
    #[serde(deserialize_with = "otlp::any_case_bool")]
    pub otel_sdk_disabled: bool,
    /// `OTEL_SERVICE_NAME`: the resource's `service.name`, by default the name of the program.
    pub otel_service_name: Option<String>,
    /// `OTEL_RESOURCE_ATTRIBUTES`: more of the resource, as `key=value,key=value`; values may be
    /// percent-encoded.
    pub otel_resource_attributes: ResourceAttributes,
    /// `OTEL_TRACES_SAMPLER`: which traces are recorded: `always_on`, `always_off`, `traceidratio`,
    /// `parentbased_always_on`, `parentbased_always_off` or `parentbased_traceidratio`;
    /// `parentbased_always_on`.
    pub otel_traces_sampler: TracesSampler,
    /// `OTEL_TRACES_SAMPLER_ARG`: the share that the ratio samplers record, from 0 to 1; 1.
    pub otel_traces_sampler_arg: Option<f64>,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`: a collector that speaks OTLP over HTTP, such as
    /// `http://collector:4318`, with `/v1/traces` below it; without it, or the next one, nothing is
    /// exported.
    pub otel_exporter_otlp_endpoint: Option<String>,
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`: where spans go, path and all.
    pub otel_exporter_otlp_traces_endpoint: Option<String>,
    /// `OTEL_EXPORTER_OTLP_PROTOCOL`: `http/protobuf`, the only one that is supported.
    pub otel_exporter_otlp_protocol: OtlpProtocol,
    /// `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL`: the same for spans alone.
    pub otel_exporter_otlp_traces_protocol: Option<OtlpProtocol>,
    /// `OTEL_BSP_MAX_QUEUE_SIZE`: spans that wait for the collector at most; 2048.
    pub otel_bsp_max_queue_size: NonZeroU16,
}

impl Default for OtlpConfig {
    fn default() -> Self {
        Self {
            otel_sdk_disabled: false,
            otel_service_name: None,
            otel_resource_attributes: ResourceAttributes::default(),
            otel_traces_sampler: TracesSampler::default(),
            otel_traces_sampler_arg: None,
            otel_exporter_otlp_endpoint: None,
            otel_exporter_otlp_traces_endpoint: None,
            otel_exporter_otlp_protocol: OtlpProtocol::default(),
            otel_exporter_otlp_traces_protocol: None,
            otel_bsp_max_queue_size: NonZeroU16::MIN.saturating_add(2047),
        }
    }
}

impl OtlpConfig {
    /// Reads the variables of the export of spans. Problems stay with the loader until
    /// [`Loader::finish`].
    pub fn load(loader: &mut Loader) -> Self {
        let config: Self = loader.section();
        config.check(loader);
        config
    }

    /// Where spans go; none where they are not exported.
    #[must_use]
    pub fn traces_url(&self) -> Option<String> {
        if self.otel_sdk_disabled {
            return None;
        }
        let below = |base: &String| format!("{}/v1/traces", base.trim_end_matches('/'));
        let own = self.otel_exporter_otlp_traces_endpoint.clone();
        own.or_else(|| self.otel_exporter_otlp_endpoint.as_ref().map(below))
    }

    fn check(&self, loader: &mut Loader) {
        let is_http = |url: reqwest::Url| ["http", "https"].contains(&url.scheme());
        for (name, url, example) in [
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                &self.otel_exporter_otlp_endpoint,
                "http://collector:4318",
            ),
            (
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                &self.otel_exporter_otlp_traces_endpoint,
                "http://collector:4318/v1/traces",
            ),
        ] {
            let Some(url) = url else { continue };
            if !reqwest::Url::parse(url).is_ok_and(is_http) {
                loader.problem(name, format!("expected a URL such as {example}"));
            }
        }
        if self.otel_traces_sampler_arg.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
            loader.problem("OTEL_TRACES_SAMPLER_ARG", "must be from 0 to 1");
        }
    }
}
