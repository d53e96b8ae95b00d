//! What can go wrong while telemetry is set up.

use std::io;
use std::path::PathBuf;

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `LOG_DIR` cannot be written to.
    #[error("LOG_DIR: cannot write {}", path.display())]
    LogDir {
        /// The file in question.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The thread that writes lines could not be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// The exporter refused its configuration.
    #[error("cannot set up the export of spans")]
    Otlp(#[source] opentelemetry_otlp::ExporterBuildError),
    /// Another subscriber is in place.
    #[error("logging is set up already")]
    Installed(#[source] tracing_subscriber::util::TryInitError),
}
