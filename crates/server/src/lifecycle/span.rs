//! The span of a request.

use std::borrow::Cow;
use std::net::SocketAddr;

use actix_web::http::Version;
use common::context::RequestContext;
use common::telemetry::SPANS;
use tracing::Span;
use tracing::field::Empty;
use transport::Scheme;

use crate::metrics::{MethodLabel, OTHER_METHOD};
use crate::routes::UNMATCHED;

/// What a request's span tells beside what the request's context has.
pub(super) struct ServerSpan<'a> {
    /// The route's label.
    pub(super) route: &'a str,
    pub(super) version: Version,
    pub(super) scheme: Scheme,
    /// Where the service listens.
    pub(super) address: SocketAddr,
}

impl ServerSpan<'_> {
    /// Begins it. No attribute has a value that the client made up, such as a path that there is not.
    pub(super) fn begin(&self, context: &RequestContext) -> Span {
        let method = MethodLabel::from(context.method()).as_str();
        let route = Some(self.route).filter(|route| *route != UNMATCHED);
        let name = match (method, route) {
            (OTHER_METHOD, Some(route)) => Cow::Owned(format!("HTTP {route}")),
            (OTHER_METHOD, None) => Cow::Borrowed("HTTP"),
            (_, Some(route)) => Cow::Owned(format!("{method} {route}")),
            (_, None) => Cow::Borrowed(method),
        };
        let host = self.address.ip();
        tracing::info_span!(
            target: SPANS,
            parent: None,
            "request",
            otel.name = &*name,
            otel.kind = "server",
            otel.status_code = Empty,
            http.request.method = method,
            http.route = route,
            http.response.status_code = Empty,
            "error.type" = Empty,
            url.scheme = self.scheme.as_str(),
            url.path = route.unwrap_or("REDACTED"),
            network.protocol.version = protocol_version(self.version),
            server.address = (!host.is_unspecified()).then(|| tracing::field::display(host)),
            server.port = i64::from(self.address.port()),
            client.address = &*context.client_text(),
        )
    }
}

fn protocol_version(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        _ => None,
    }
}
