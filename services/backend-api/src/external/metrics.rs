//! How calls of the external service go.

use std::time::Instant;

use common::Metrics;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Unit;

/// In seconds, as for the server's own requests: up to the default of `EXTERNAL_API_TIMEOUT`.
const BUCKETS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// How a call ended, its retries included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// The whole body was passed.
    Complete,
    /// 401 or 403.
    KeyRefused,
    /// Another status that is no 2xx.
    Status,
    /// A redirect to another origin, or one too many.
    Redirect,
    /// No connection, or none that lasted until an answer began.
    Unreachable,
    /// No answer began in time.
    TimedOut,
    /// The connection was lost within the body.
    BrokenOff,
    /// Nothing of the body came for too long.
    Stalled,
    /// The client did not wait for all of it.
    Abandoned,
}

impl Outcome {
    const ALL: [Self; 9] = [
        Self::Complete,
        Self::KeyRefused,
        Self::Status,
        Self::Redirect,
        Self::Unreachable,
        Self::TimedOut,
        Self::BrokenOff,
        Self::Stalled,
        Self::Abandoned,
    ];

    /// Its name in metrics and spans.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::KeyRefused => "key_refused",
            Self::Status => "status",
            Self::Redirect => "redirect",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::BrokenOff => "broken_off",
            Self::Stalled => "stalled",
            Self::Abandoned => "abandoned",
        }
    }
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.label().encode(encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    outcome: Outcome,
}

/// What is counted; clones share it.
#[derive(Clone, Debug)]
pub(super) struct ExternalMetrics {
    requests: Family<Labels, Counter>,
    duration: Histogram,
    bytes: Counter,
    pub(super) retries: Counter,
}

impl ExternalMetrics {
    pub(super) fn register(metrics: &Metrics) -> Self {
        Self {
            requests: metrics.add_family(
                "backend_api_external_requests",
                "Calls of the external service by how they ended, retries included",
                Outcome::ALL.map(|outcome| Labels { outcome }),
            ),
            duration: metrics.add_with_unit(
                ("backend_api_external_request_duration", Unit::Seconds),
                "Time until the external service's answer began or was given up, retries included",
                Histogram::new(BUCKETS),
            ),
            bytes: metrics.add_with_unit(
                ("backend_api_external_response", Unit::Bytes),
                "Bytes of the external service's answers that were handed through",
                Counter::default(),
            ),
            retries: metrics.add(
                "backend_api_external_retries",
                "Attempts beyond the first of a call",
                Counter::default(),
            ),
        }
    }

    /// A call begins.
    pub(super) fn begin(&self) -> Call {
        Call { metrics: self.clone(), started: Instant::now(), outcome: Outcome::Abandoned }
    }
}

/// A call that is counted when it is dropped.
#[derive(Debug)]
pub(super) struct Call {
    metrics: ExternalMetrics,
    started: Instant,
    outcome: Outcome,
}

impl Call {
    /// The answer has begun, or was given up.
    pub(super) fn head_ends(&self) {
        let seconds = self.started.elapsed().as_secs_f64();
        self.metrics.duration.observe(seconds);
    }

    /// So many bytes of the body were handed through.
    pub(super) fn pass(&self, bytes: usize) {
        self.metrics.bytes.inc_by(bytes as u64);
    }

    /// This is how it ended.
    pub(super) fn end(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let labels = Labels { outcome: self.outcome };
        self.metrics.requests.get_or_create(&labels).inc();
    }
}
