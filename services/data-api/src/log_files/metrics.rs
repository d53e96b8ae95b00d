//! What is counted of the log files.

use common::Metrics;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Unit;

const BATCH_FILES: [f64; 6] = [1.0, 4.0, 16.0, 64.0, 256.0, 1024.0];
const WRITE_SECONDS: [f64; 9] = [0.001, 0.0025, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0];

/// What is counted of the log files.
#[derive(Debug)]
pub(super) struct LogFilesMetrics {
    pub(super) written: Counter,
    pub(super) write_failures: Counter,
    pub(super) batch_files: Histogram,
    pub(super) write_duration: Histogram,
    pub(super) held: Gauge,
    pub(super) removed: Counter,
}

impl LogFilesMetrics {
    pub(super) fn register(metrics: &Metrics) -> Self {
        let counter = |name, help| metrics.add(name, help, Counter::default());
        let batches = Histogram::new(BATCH_FILES);
        Self {
            written: counter("data_api_log_files_written", "Log files that are durable"),
            write_failures: counter("data_api_log_file_write_failures", "Log files not written"),
            batch_files: metrics.add("data_api_write_batch_files", "Files of a batch", batches),
            write_duration: metrics.add_with_unit(
                ("data_api_write_duration", Unit::Seconds),
                "Time until a batch of log files is durable",
                Histogram::new(WRITE_SECONDS),
            ),
            held: metrics.add("data_api_log_files_held", "Log files there are", Gauge::default()),
            removed: counter("data_api_log_files_removed", "Log files removed by retention"),
        }
    }
}
