//! What is counted of the log files.

use common::Metrics;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Unit};

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
        fn add<M: Metric + Clone>(metrics: &Metrics, name: &str, help: &str, metric: M) -> M {
            metrics.register(|registry| registry.register(name, help, metric.clone()));
            metric
        }
        let counter = |name, help| add(metrics, name, help, Counter::default());
        let (batches, durations) = (Histogram::new(BATCH_FILES), Histogram::new(WRITE_SECONDS));
        let help = "Time until a batch of log files is durable";
        metrics.register(|registry| {
            let name = "data_api_write_duration";
            registry.register_with_unit(name, help, Unit::Seconds, durations.clone());
        });
        Self {
            written: counter("data_api_log_files_written", "Log files that are durable"),
            write_failures: counter("data_api_log_file_write_failures", "Log files not written"),
            batch_files: add(metrics, "data_api_write_batch_files", "Files of a batch", batches),
            write_duration: durations,
            held: add(metrics, "data_api_log_files_held", "Log files there are", Gauge::default()),
            removed: counter("data_api_log_files_removed", "Log files removed by retention"),
        }
    }
}
