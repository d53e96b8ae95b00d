//! Logs and spans.
//!
//! An event becomes one line, formatted on the thread where it happens and handed to bounded
//! `sink`s that write many lines at once. `tracing-subscriber`'s own JSON formatter costs more CPU than
//! a whole request, hence `lines`. Spans exist only while a collector is configured.

mod access_log;
mod error;
mod json;
mod lines;
mod otlp;
mod rotation;
mod sink;
pub mod spans;
mod target;
mod targets;
mod words;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Dispatch;
use tracing_subscriber::Layer as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt as _;

pub use access_log::AccessLine;
pub use error::TelemetryError;
pub use lines::Lines;
pub use otlp::RequestSampler;
pub(crate) use otlp::register as register_spans;
pub use sink::Sink;
pub(crate) use sink::dropped_lines;
pub use target::Write;
pub use targets::SPANS;

use crate::Service;
use crate::config::{LogConfig, LogFilter, LogFormat, OtlpConfig};

/// How long a stop waits for sinks that do not take their lines.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Keeps telemetry going; dropped, it writes out what was logged and exports what was recorded.
#[derive(Debug)]
#[must_use = "dropped at once, nothing would be logged"]
pub struct Telemetry {
    sinks: Vec<Sink>,
    tracer: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Sets up the process's log and export of spans.
    ///
    /// # Errors
    /// When `LOG_DIR` cannot be written to, the exporter cannot be made, or another subscriber is in place.
    pub fn install(
        service: &Service,
        log: &LogConfig,
        otlp: &OtlpConfig,
    ) -> Result<Self, TelemetryError> {
        let mut sinks = vec![Sink::stdout()?];
        if let Some(folder) = &log.log_dir {
            sinks.push(Sink::file(folder, &format!("{}.log", service.log_name))?);
        }
        let tracer = otlp
            .traces_url()
            .map(|url| otlp::provider(service, otlp, url))
            .transpose()
            .map_err(TelemetryError::Otlp)?;
        let lines = Lines::new(service, log.log_format, sinks.clone());
        subscriber(lines, &log.log_level, tracer.as_ref().map(|provider| (service, provider)))
            .try_init()
            .map_err(TelemetryError::Installed)?;
        report_panics();
        Ok(Self { sinks, tracer })
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(tracer) = &self.tracer
            && let Err(error) = tracer.shutdown_with_timeout(FLUSH_TIMEOUT)
        {
            tracing::warn!(error = %error, "Spans were lost at the stop");
        }
        for sink in &self.sinks {
            // A destination that takes nothing must not hold up the end; there is nowhere left to tell.
            let _ = sink.flush(FLUSH_TIMEOUT);
        }
    }
}

/// The subscriber of a service, apart from its installation, so that a test can give it a sink of its own.
#[must_use]
pub fn subscriber(
    lines: Lines,
    filter: &LogFilter,
    spans: Option<(&Service, &SdkTracerProvider)>,
) -> Dispatch {
    let lines = lines.with_access_log(access_log::level(filter));
    let filter = filter.env_filter();
    // A filter of the lines alone costs each event more than one of everything, which spans would be
    // subject to as well. Joined to the lines by `and_then` it would not tell the most that it lets pass,
    // and every event of every crate would be asked for.
    match spans {
        Some((service, provider)) => Registry::default()
            .with(lines.with_filter(filter))
            .with(otlp::layer(service, provider))
            .into(),
        None => Registry::default().with(filter).with(lines).into(),
    }
}

/// Writes a line of the access log, where there is a log whose filter lets it pass.
pub fn log_request(line: &AccessLine<'_>) {
    tracing::dispatcher::get_default(|subscriber| {
        if let Some(lines) = subscriber.downcast_ref::<Lines>() {
            lines.write_access(line);
        }
    });
}

/// A panic is an event like any other, so that it is found where all else is.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(panic.location = %location, panic.message = message, "A thread panicked");
    }));
}

/// Lines in memory instead of a stream, for tests.
#[derive(Clone, Debug, Default)]
pub struct Captured(Arc<std::sync::Mutex<Vec<u8>>>);

impl Captured {
    /// A formatter of JSON lines that writes here.
    #[must_use]
    pub fn lines(&self, service: &Service) -> Lines {
        Lines::new(service, LogFormat::Json, vec![Sink::direct(self.clone())])
    }

    /// All lines so far.
    #[must_use]
    pub fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend_from_slice(lines);
        Ok(())
    }
}
