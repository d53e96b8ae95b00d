//! Spans of what is asked of the database, by OpenTelemetry's semantic conventions for SQL. None of them has a value that
//! a client sent.

use common::telemetry::SPANS;
use common::telemetry::spans::{self, SpanContext};
use tracing::Span;
use tracing::field::Empty;

use crate::config::Options;
use crate::error::Error;

/// Which database it is.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    system: &'static str,
    namespace: Option<String>,
    /// Host and port, where there is a network between.
    server: Option<(String, u16)>,
}

impl Target {
    pub(crate) fn new(options: &Options) -> Self {
        match options {
            Options::Sqlite(_) => Self { system: "sqlite", namespace: None, server: None },
            Options::Postgres(options) => Self {
                system: "postgresql",
                namespace: options.get_database().map(ToOwned::to_owned),
                server: Some((options.get_host().to_owned(), options.get_port())),
            },
        }
    }

    /// A span of an operation, if the request that needs it is recorded.
    pub(crate) fn operation(&self, name: &'static str) -> Span {
        if spans::is_recording() { self.span(name, None, None) } else { Span::none() }
    }

    /// The span of a commit of so many items. It is part of the first recorded request's trace, and linked to the others.
    pub(crate) fn batch(&self, name: &'static str, requests: &[&Span], items: usize) -> Span {
        let Some((first, others)) = requests.split_first() else { return Span::none() };
        // The conventions count no batch of one.
        let span = self.span(name, Some(first), (items > 1).then_some(items));
        for other in others.iter().filter_map(|span| spans::recorded(span)) {
            spans::link(&span, other);
        }
        span
    }

    fn span(&self, name: &'static str, parent: Option<&Span>, items: Option<usize>) -> Span {
        let server = self.server.as_ref();
        macro_rules! span {
            ($($parent:tt)*) => {
                tracing::info_span!(
                    target: SPANS,
                    $($parent)*
                    "database",
                    otel.name = name,
                    otel.kind = "client",
                    otel.status_code = Empty,
                    db.system.name = self.system,
                    db.namespace = self.namespace.as_deref(),
                    db.query.summary = name,
                    db.operation.batch.size = items.and_then(|items| i64::try_from(items).ok()),
                    db.response.status_code = Empty,
                    server.address = server.map(|(host, _)| host.as_str()),
                    server.port = server.map(|(_, port)| i64::from(*port)),
                    "error.type" = Empty,
                )
            };
        }
        if let Some(parent) = parent { span!(parent: parent,) } else { span!() }
    }
}

/// The span of the wait for a connection of the pool.
pub(crate) fn wait_for_connection() -> Span {
    spans::begin("wait for connection", "internal")
}

/// The span of the wait of an item for its batch, and for the commit of that.
pub(crate) fn wait_for_batch(operation: &'static str) -> Span {
    spans::begin(operation, "internal")
}

/// Notes in a span how it failed.
pub(crate) fn fail(span: &Span, error: &Error) {
    if span.is_none() {
        return;
    }
    let (code, word) = error.types();
    if let Some(code) = &code {
        span.record("db.response.status_code", code.as_str());
    }
    spans::fail(span, code.as_deref().unwrap_or(word));
}

/// What an item's own span refers to: the commit, if that is part of another request's trace.
pub(crate) type Commit = Option<SpanContext>;
