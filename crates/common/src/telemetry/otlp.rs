//! The export of spans to a collector, by OTLP over HTTP.
//!
//! Spans wait in a queue of bounded length, and none of their attributes is of a length that a client
//! chooses. So what a collector that does not keep up can make the process hold is bounded; what does not
//! fit is dropped and counted, and nobody waits.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, IdGenerator, RandomIdGenerator, Sampler,
    SamplingDecision, SdkTracerProvider, ShouldSample as _, Span, SpanData, SpanProcessor,
};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use super::targets::SPANS;
use crate::Service;
use crate::config::{OtlpConfig, TracesSampler};
use crate::context::RequestContext;

thread_local! {
    /// The id of the trace that the next span begins, where it is known before.
    static NEXT_TRACE: Cell<Option<TraceId>> = const { Cell::new(None) };
}

/// What became of the process's spans.
#[derive(Default)]
struct Counts {
    exported: Counter,
    dropped: Family<[(&'static str, &'static str); 1], Counter>,
}

static COUNTS: LazyLock<Counts> = LazyLock::new(|| {
    let counts = Counts::default();
    for reason in [QUEUE_FULL, EXPORT_FAILED] {
        // A series that begins at 0 shows its first event.
        drop(counts.dropped.get_or_create(&[reason]));
    }
    counts
});

const QUEUE_FULL: (&str, &str) = ("reason", "queue_full");
const EXPORT_FAILED: (&str, &str) = ("reason", "export_failed");

/// Registers the process's counts of spans.
pub(crate) fn register(registry: &mut Registry) {
    registry.register(
        "otlp_spans_exported",
        "Spans that the collector took",
        COUNTS.exported.clone(),
    );
    registry.register(
        "otlp_spans_dropped",
        "Spans that were lost, because the queue was full or the collector did not take them",
        COUNTS.dropped.clone(),
    );
}

/// A provider that exports to `url` in batches, from a thread of its own.
pub(super) fn provider(
    service: &Service,
    config: &OtlpConfig,
    url: String,
) -> Result<SdkTracerProvider, ExporterBuildError> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(url)
        .with_protocol(Protocol::HttpBinary)
        .build()?;
    let queued = Arc::new(AtomicUsize::new(0));
    let queue_size = usize::from(config.otel_bsp_max_queue_size.get());
    let exporter = CountingExporter { next: exporter, queued: Arc::clone(&queued) };
    let batches = BatchConfigBuilder::default().with_max_queue_size(queue_size).build();
    let next = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
    Ok(SdkTracerProvider::builder()
        .with_span_processor(CountingProcessor { next, queued, queue_size })
        .with_resource(resource(service, config))
        .with_id_generator(Ids(RandomIdGenerator::default()))
        .with_sampler(sampler(config))
        .build())
}

fn resource(service: &Service, config: &OtlpConfig) -> Resource {
    // Of attributes with the same key, the last one counts.
    let attributes = config
        .otel_resource_attributes
        .iter()
        .map(|(key, value)| KeyValue::new(key.to_owned(), value.to_owned()));
    let name = config.otel_service_name.clone();
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_service_name(service.name)
        .with_attributes(attributes)
        .with_attributes(name.map(|name| KeyValue::new("service.name", name)))
        .with_attribute(KeyValue::new("service.version", service.version))
        .build()
}

fn sampler(config: &OtlpConfig) -> Sampler {
    let root = root_sampler(config);
    if config.otel_traces_sampler.is_parent_based() {
        Sampler::ParentBased(Box::new(root))
    } else {
        root
    }
}

fn root_sampler(config: &OtlpConfig) -> Sampler {
    match config.otel_traces_sampler {
        TracesSampler::AlwaysOn | TracesSampler::ParentBasedAlwaysOn => Sampler::AlwaysOn,
        TracesSampler::AlwaysOff | TracesSampler::ParentBasedAlwaysOff => Sampler::AlwaysOff,
        TracesSampler::TraceIdRatio | TracesSampler::ParentBasedTraceIdRatio => {
            Sampler::TraceIdRatioBased(config.otel_traces_sampler_arg.unwrap_or(1.0))
        }
    }
}

/// Decides which requests are recorded, as the provider's own sampler would; but before a span is made,
/// because making it is what costs.
#[derive(Clone, Debug)]
pub struct RequestSampler {
    root: Sampler,
    is_parent_based: bool,
}

impl RequestSampler {
    /// None where spans are not exported.
    #[must_use]
    pub fn new(config: &OtlpConfig) -> Option<Self> {
        config.traces_url()?;
        let is_parent_based = config.otel_traces_sampler.is_parent_based();
        Some(Self { root: root_sampler(config), is_parent_based })
    }

    /// Makes the span of a request that is to be recorded: `make` makes it, without a parent. The request's context
    /// then knows it, or that there is none.
    pub fn begin(
        &self,
        request: &mut RequestContext,
        make: impl FnOnce(&RequestContext) -> tracing::Span,
    ) -> Option<tracing::Span> {
        if !self.samples(request) {
            request.set_unsampled();
            return None;
        }
        let span = make(request);
        if let Some(caller) = request.caller() {
            let state = request.tracestate().and_then(|state| state.parse().ok());
            let caller = SpanContext::new(
                TraceId::from(caller.trace_id),
                SpanId::from(caller.span_id),
                TraceFlags::new(u8::from(caller.is_sampled())),
                true,
                state.unwrap_or(TraceState::NONE),
            );
            // It fails only where no exporter is installed; the span is then nobody's.
            let _ = span.set_parent(Context::new().with_remote_span_context(caller));
        } else {
            NEXT_TRACE.set(Some(TraceId::from(request.trace_id_number())));
        }
        let context = span.context();
        NEXT_TRACE.set(None);
        let context = context.span().span_context().clone();
        if context.is_valid() {
            request.set_span_id(u64::from_be_bytes(context.span_id().to_bytes()));
        }
        Some(span)
    }

    fn samples(&self, request: &RequestContext) -> bool {
        if self.is_parent_based
            && let Some(caller) = request.caller()
        {
            return caller.is_sampled();
        }
        let trace_id = TraceId::from(request.trace_id_number());
        let result = self.root.should_sample(None, trace_id, "", &SpanKind::Server, &[], &[]);
        result.decision == SamplingDecision::RecordAndSample
    }
}

/// Random ids, but for a request's trace, whose id its context has drawn.
#[derive(Debug)]
struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        NEXT_TRACE.take().unwrap_or_else(|| self.0.new_trace_id())
    }

    fn new_span_id(&self) -> SpanId {
        self.0.new_span_id()
    }
}

/// Lets no more spans wait than the queue's capacity, those in flight included, and counts the others.
#[derive(Debug)]
struct CountingProcessor {
    next: BatchSpanProcessor,
    queued: Arc<AtomicUsize>,
    queue_size: usize,
}

impl SpanProcessor for CountingProcessor {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.next.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.queued.fetch_add(1, Ordering::Relaxed) < self.queue_size {
            self.next.on_end(span);
        } else {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            COUNTS.dropped.get_or_create(&[QUEUE_FULL]).inc();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.next.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.next.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.next.set_resource(resource);
    }
}

/// Counts what the collector takes and what it does not.
#[derive(Debug)]
struct CountingExporter {
    next: SpanExporter,
    queued: Arc<AtomicUsize>,
}

impl opentelemetry_sdk::trace::SpanExporter for CountingExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.next.export(batch).await;
        self.queued.fetch_sub(spans, Ordering::Relaxed);
        let count = match &result {
            Ok(()) => COUNTS.exported.clone(),
            Err(_) => COUNTS.dropped.get_or_create_owned(&[EXPORT_FAILED]),
        };
        count.inc_by(spans as u64);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.next.shutdown_with_timeout(timeout)
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.next.shutdown()
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.next.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.next.set_resource(resource);
    }
}

/// The layer that turns `tracing`'s spans of the target [`SPANS`] into OpenTelemetry's.
pub(super) fn layer<S>(service: &Service, provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let is_ours = filter_fn(|metadata| metadata.is_span() && metadata.target() == SPANS);
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(service.name))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        // Without the hint, every event of every crate would be asked for.
        .with_filter(is_ours.with_max_level_hint(LevelFilter::INFO))
}
