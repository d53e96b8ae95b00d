//! The metrics of the HTTP server, by OpenTelemetry's names.

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use actix_web::http::Method;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use transport::Refused;

use crate::routes::RouteId;

/// The bucket boundaries that OpenTelemetry's semantic conventions advise, in seconds
/// (<https://opentelemetry.io/docs/specs/semconv/http/http-metrics/#metric-httpserverrequestduration>).
const BUCKETS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// What any word counts as that is no method of HTTP's own.
pub(crate) const OTHER_METHOD: &str = "_OTHER";

/// A method that is one of HTTP's own, or [`OTHER_METHOD`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MethodLabel(&'static str);

impl From<&Method> for MethodLabel {
    fn from(method: &Method) -> Self {
        const KNOWN: [&str; 9] =
            ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"];
        let method = method.as_str();
        Self(KNOWN.into_iter().find(|known| *known == method).unwrap_or(OTHER_METHOD))
    }
}

impl MethodLabel {
    pub(crate) fn as_str(self) -> &'static str {
        self.0
    }
}

impl EncodeLabelValue for MethodLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.0.encode(encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
#[expect(clippy::struct_field_names, reason = "these are the labels' names")]
struct Labels {
    http_request_method: MethodLabel,
    http_route: String,
    http_response_status_code: u16,
}

/// Where to find an example of what was measured: the labels `trace_id` and `span_id`.
pub(crate) type Exemplar = [(&'static str, String); 2];

type Histogram = HistogramWithExemplars<Exemplar>;

#[derive(Clone, Debug)]
struct Durations;

impl MetricConstructor<Histogram> for Durations {
    fn new_metric(&self) -> Histogram {
        Histogram::new(BUCKETS.into_iter())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// What the server counts, for all workers.
#[derive(Clone, Debug)]
pub(crate) struct HttpMetrics {
    durations: Family<Labels, Histogram, Durations>,
    /// Requests whose answer is not complete.
    pub(crate) active: Gauge,
    /// Panics in handlers.
    pub(crate) panics: Counter,
    /// Connections that a client has open.
    pub(crate) connections: Gauge,
    /// Connections that were refused.
    pub(crate) refused: Refused,
}

impl HttpMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let refused = Family::<ReasonLabel, Counter>::default();
        let http = Self {
            durations: Family::new_with_constructor(Durations),
            active: Gauge::default(),
            panics: Counter::default(),
            connections: Gauge::default(),
            refused: Refused {
                memory: refused.get_or_create_owned(&ReasonLabel { reason: "memory" }),
                descriptors: refused.get_or_create_owned(&ReasonLabel { reason: "descriptors" }),
            },
        };
        registry.register_with_unit(
            "http_server_request_duration",
            "Time from a request's head to the end of its answer",
            Unit::Seconds,
            http.durations.clone(),
        );
        registry.register(
            "http_server_active_requests",
            "Requests whose answer is not complete",
            http.active.clone(),
        );
        registry.register("http_server_panics", "Panics in handlers", http.panics.clone());
        registry.register(
            "http_server_open_connections",
            "Connections that clients have open",
            http.connections.clone(),
        );
        registry.register(
            "connections_refused",
            "Connections that were refused because their address or all hold too much",
            refused,
        );
        http
    }

    /// A worker's own view, which remembers the histograms it has used.
    pub(crate) fn for_worker(&self) -> WorkerMetrics {
        WorkerMetrics { shared: self.clone(), known: RefCell::default() }
    }
}

/// The metrics as one worker uses them: a histogram is looked up by its labels once.
#[derive(Debug)]
pub(crate) struct WorkerMetrics {
    pub(crate) shared: HttpMetrics,
    /// Usually some dozens, which a search is quicker through than a hash is made.
    known: RefCell<Vec<(Answer, Histogram)>>,
}

/// What answers are counted by.
type Answer = (RouteId, u16, MethodLabel);

/// A request whose answer is complete, or is no longer awaited.
pub(crate) struct Answered<'a> {
    pub(crate) route: RouteId,
    pub(crate) route_label: &'a str,
    pub(crate) method: MethodLabel,
    pub(crate) status: u16,
    pub(crate) duration: Duration,
    pub(crate) exemplar: Option<Exemplar>,
}

impl WorkerMetrics {
    /// Counts an answer and how long it took.
    pub(crate) fn observe(&self, answer: Answered<'_>) {
        let Answered { route, route_label, method, status, duration, exemplar } = answer;
        let (mut known, answer) = (self.known.borrow_mut(), (route, status, method));
        let at = known.iter().position(|(known, _)| *known == answer).unwrap_or_else(|| {
            let labels = Labels {
                http_request_method: method,
                http_route: route_label.to_owned(),
                http_response_status_code: status,
            };
            known.push((answer, self.shared.durations.get_or_create(&labels).clone()));
            known.len() - 1
        });
        let now = exemplar.as_ref().map(|_| SystemTime::now());
        known[at].1.observe(duration.as_secs_f64(), exemplar, now);
    }
}
