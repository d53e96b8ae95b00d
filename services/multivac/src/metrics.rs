//! The metrics of jobs and their queue.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

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
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            accepted: Counter::default(),
            stored: Counter::default(),
            repeated: Counter::default(),
            refused: Counter::default(),
            dead: Counter::default(),
            storage_duration: Histogram::new(BUCKETS),
            queue_length: Gauge::default(),
            oldest_age: Gauge::default(),
            dead_letters: Gauge::default(),
        };
        for (name, help, counter) in [
            ("accepted", "Jobs taken into the queue", &metrics.accepted),
            ("stored", "Jobs whose datum was stored", &metrics.stored),
            ("repeated", "Jobs that were stored already when they came again", &metrics.repeated),
            ("refused", "Attempts that the store refused", &metrics.refused),
            ("dead", "Jobs that became dead letters", &metrics.dead),
        ] {
            registry.register(format!("multivac_jobs_{name}"), help, counter.clone());
        }
        registry.register_with_unit(
            "multivac_job_storage_duration",
            "Time from the acceptance of a job to the storage of its datum",
            Unit::Seconds,
            metrics.storage_duration.clone(),
        );
        registry.register("multivac_queue_length", "Jobs that wait", metrics.queue_length.clone());
        registry.register_with_unit(
            "multivac_queue_oldest_age",
            "Age of the oldest job that waits",
            Unit::Seconds,
            metrics.oldest_age.clone(),
        );
        registry.register(
            "multivac_queue_dead_letters",
            "Dead letters there are",
            metrics.dead_letters.clone(),
        );
        metrics
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
