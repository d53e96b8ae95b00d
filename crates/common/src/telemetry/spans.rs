//! What parts of a service need to know of the span in progress.
//!
//! A span of ours is one of `tracing` with the target [`SPANS`]. Most requests are not recorded, and a
//! span costs whether it is recorded or not: so ask [`is_recording`] before making one. A number has to be an `i64`; of
//! any other type it would be exported as text.

use opentelemetry::Context;
pub use opentelemetry::trace::SpanContext;
use opentelemetry::trace::TraceContextExt as _;
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::targets::SPANS;

/// Whether what this thread does at the moment belongs to a recorded span.
#[must_use]
pub fn is_recording() -> bool {
    Context::map_current(|context| context.span().span_context().is_sampled())
}

/// A span of which only its kind, its duration and its failure are of interest; none if nothing is recorded.
#[must_use]
pub fn begin(name: &'static str, kind: &'static str) -> Span {
    if !is_recording() {
        return Span::none();
    }
    tracing::info_span!(
        target: SPANS,
        "step",
        otel.name = name,
        otel.kind = kind,
        otel.status_code = Empty,
        "error.type" = Empty,
    )
}

/// The ids of a span by which others can refer to it, if it is recorded.
#[must_use]
pub fn recorded(span: &Span) -> Option<SpanContext> {
    if span.is_none() {
        return None;
    }
    let context = span.context().span().span_context().clone();
    context.is_sampled().then_some(context)
}

/// Lets one span refer to another that is not its parent.
pub fn link(span: &Span, to: SpanContext) {
    span.add_link(to);
}

/// Notes in a span that it failed: by a word from a fixed set, or a status code.
pub fn fail(span: &Span, error_type: &str) {
    span.record("error.type", error_type);
    span.record("otel.status_code", "ERROR");
}
