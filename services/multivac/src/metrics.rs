//! The metrics of jobs and their queue.

use std::sync::atomic::AtomicU64;

use common::Metrics;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Unit;

use crate::store::QueueState;

/// In seconds: from the time that a busy worker needs to the time after which a job is taken over.
const BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0];

/// The metrics; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct JobMetrics {
    pub(crate) accepted: Counter,
    pub(crate) stored: Counter,
    pub(crate) repeated: Counter,
    pub(crate) refused: Counter,
    dead: Counter,
    pub(crate) storage_duration: Histogram,
    queue_length: Gauge,
    oldest_age: Gauge<f64, AtomicU64>,
    dead_letters: Gauge,
}

impl JobMetrics {
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let jobs =
            |name, help| metrics.add(&format!("multivac_jobs_{name}"), help, Counter::default());
        let gauge =
            |name, help| metrics.add(&format!("multivac_queue_{name}"), help, Gauge::default());
        Self {
            accepted: jobs("accepted", "Jobs taken into the queue"),
            stored: jobs("stored", "Jobs whose datum was stored"),
            repeated: jobs("repeated", "Jobs that were stored already when they came again"),
            refused: jobs("refused", "Attempts that the store refused"),
            dead: jobs("dead", "Jobs that became dead letters"),
            storage_duration: metrics.add_with_unit(
                ("multivac_job_storage_duration", Unit::Seconds),
                "Time from the acceptance of a job to the storage of its datum",
                Histogram::new(BUCKETS),
            ),
            queue_length: gauge("length", "Jobs that wait"),
            oldest_age: metrics.add_with_unit(
                ("multivac_queue_oldest_age", Unit::Seconds),
                "Age of the oldest job that waits",
                Gauge::default(),
            ),
            dead_letters: gauge("dead_letters", "Dead letters there are"),
        }
    }

    /// Counts and logs a job that has become a dead letter.
    pub(crate) fn count_dead_letter(&self, job: &str, reason: &str) {
        self.dead.inc();
        tracing::error!(job.id = job, error = reason, "A job became a dead letter");
    }

    /// Sets the gauges of the queue.
    pub(crate) fn set_queue(&self, queue: &QueueState) {
        self.queue_length.set(queue.length.cast_signed());
        self.oldest_age.set(queue.oldest_age.as_secs_f64());
        self.dead_letters.set(queue.dead_letters.cast_signed());
    }
}
