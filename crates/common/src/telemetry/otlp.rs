//! The export of spans to a collector, by OTLP over HTTP.

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use super::targets::SPANS;
use crate::Service;

/// A provider that exports in batches from a thread of its own; it drops spans while the collector is away.
/// The SDK reads sampler, batch sizes, headers and resource attributes from the standard variables.
pub(super) fn provider(
    service: &Service,
    endpoint: &str,
) -> Result<SdkTracerProvider, ExporterBuildError> {
    let traces = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
    let exporter = SpanExporter::builder().with_http().with_endpoint(traces).build()?;
    // The detectors of `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` run first; what they leave
    // as the SDK's fallback is replaced by our own name.
    let detected = Resource::builder().build();
    let named = detected
        .get(&"service.name".into())
        .is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let mut resource = Resource::builder();
    if !named {
        resource = resource.with_service_name(service.name);
    }
    let resource =
        resource.with_attribute(KeyValue::new("service.version", service.version)).build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

/// The layer that turns `tracing`'s spans of the target [`SPANS`] into OpenTelemetry's.
pub(super) fn layer<S>(service: &Service, provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(service.name))
        .with_location(false)
        .with_threads(false)
        .with_filter(filter_fn(|metadata| metadata.is_span() && metadata.target() == SPANS))
}
