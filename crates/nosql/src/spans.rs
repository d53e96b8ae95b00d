//! Spans of queues and databases, by OpenTelemetry's semantic conventions for messaging and databases
//! (<https://opentelemetry.io/docs/specs/semconv/>). None has a value that a client sent.

use common::context::TraceParent;
use common::telemetry::SPANS;
use common::telemetry::spans::{fail, is_recording};
use tracing::Span;
use tracing::field::Empty;

/// A queue: jobs that wait, or dead letters.
#[derive(Clone, Copy, Debug)]
pub struct Destination {
    /// `messaging.system`.
    pub system: &'static str,
    /// `messaging.destination.name`.
    pub name: &'static str,
}

impl Destination {
    /// Of a job that is queued, if its request is recorded.
    #[must_use]
    pub fn send(self) -> Span {
        if is_recording() { self.span("send", "producer", None) } else { Span::none() }
    }

    /// Of jobs that are stored: part of the trace of the first one that is recorded, and linked to each.
    #[must_use]
    pub fn process<'a>(self, jobs: impl Iterator<Item = Option<&'a str>>) -> Span {
        let mut count = 0;
        let recorded: Vec<_> = jobs.inspect(|_| count += 1).filter_map(recorded).collect();
        let Some(first) = recorded.first() else { return Span::none() };
        let span = self.span("process", "consumer", Some(count));
        if !first.set_as_parent_of(&span) {
            // No collector is configured.
            return Span::none();
        }
        for job in recorded {
            job.add_link_to(&span);
        }
        span
    }

    /// Of a job that has become a dead letter, within the span that processes it. It has ended.
    pub fn sent_dead_letter(self, job: &str, traceparent: Option<&str>) {
        let span = self.send();
        span.record("messaging.message.id", job);
        if let Some(context) = recorded(traceparent) {
            context.add_link_to(&span);
        }
        fail(&span, "refused");
    }

    /// Of jobs that are taken out of the queue.
    #[must_use]
    pub fn settle(self) -> Span {
        if is_recording() { self.span("settle", "client", None) } else { Span::none() }
    }

    fn span(self, operation: &'static str, kind: &'static str, count: Option<usize>) -> Span {
        let Self { system, name } = self;
        tracing::info_span!(
            target: SPANS,
            "message",
            otel.name = format!("{operation} {name}"),
            otel.kind = kind,
            otel.status_code = Empty,
            messaging.system = system,
            messaging.operation.name = operation,
            "messaging.operation.type" = operation,
            messaging.destination.name = name,
            messaging.batch.message_count = count,
            messaging.message.id = Empty,
            "error.type" = Empty,
        )
    }
}

/// Of an operation of a database, if what needs it is recorded.
#[must_use]
pub fn operation(
    system: &'static str,
    name: &'static str,
    collection: Option<&'static str>,
) -> Span {
    if !is_recording() {
        return Span::none();
    }
    let summary = collection.map_or_else(|| name.to_owned(), |of| format!("{name} {of}"));
    tracing::info_span!(
        target: SPANS,
        "operation",
        otel.name = summary,
        otel.kind = "client",
        otel.status_code = Empty,
        db.system.name = system,
        db.operation.name = name,
        db.collection.name = collection,
        db.operation.batch.size = Empty,
        db.response.status_code = Empty,
        "error.type" = Empty,
    )
}

/// Of one operation for many requests, given the spans of those that are recorded and their contexts: part of the trace
/// of the first one, and linked to the others.
#[must_use]
pub fn batch_operation<'a>(
    system: &'static str,
    name: &'static str,
    size: usize,
    mut recorded: impl Iterator<Item = (&'a Span, TraceParent)>,
) -> Span {
    let Some((first, _)) = recorded.next() else { return Span::none() };
    let span = first.in_scope(|| operation(system, name, None));
    if size > 1 {
        span.record("db.operation.batch.size", size);
    }
    for (_, context) in recorded {
        context.add_link_to(&span);
    }
    span
}

/// The context of a job whose request is recorded.
fn recorded(traceparent: Option<&str>) -> Option<TraceParent> {
    TraceParent::parse(traceparent?).filter(|context| context.is_sampled())
}
