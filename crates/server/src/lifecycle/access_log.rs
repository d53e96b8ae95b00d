//! The line that the log has for each request.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use actix_web::http::header::HeaderValue;
use actix_web::http::uri::{Authority, PathAndQuery};
use common::context::RequestContext;
use common::telemetry::ACCESS_LOG;
use tracing::Level;
use transport::Scheme;

/// A request and its answer, as the log has them.
pub(super) struct AccessLogEntry<'a> {
    pub(super) context: &'a RequestContext,
    pub(super) scheme: Scheme,
    pub(super) host: Option<&'a HeaderValue>,
    pub(super) user_agent: Option<&'a HeaderValue>,
    /// Where the service listens: the host of the URL for a request that names none.
    pub(super) address: SocketAddr,
    pub(super) is_probe: bool,
    pub(super) status: u16,
    pub(super) duration: Duration,
    /// Why there is no complete answer, or none but an error.
    pub(super) cause: Option<&'a str>,
}

impl AccessLogEntry<'_> {
    /// Writes it.
    pub(super) fn write(&self) {
        let duration_ms = self.duration.as_secs_f64() * 1e3;
        // The level is part of the call site, hence a call site for each.
        macro_rules! log {
            ($level:expr) => {
                if tracing::enabled!(target: ACCESS_LOG, $level) {
                    tracing::event!(
                        target: ACCESS_LOG,
                        $level,
                        // As a field it is a string, which is not formatted.
                        message = "Incoming request",
                        "req.method" = self.context.method().as_str(),
                        "req.url" = self.url(),
                        "req.client" = &*self.context.client_text(),
                        "req.user-agent" = &*text(self.user_agent).unwrap_or("N/A".into()),
                        "res.status_code" = self.status,
                        duration_ms = (duration_ms * 1e3).round() / 1e3,
                        error = self.cause,
                        request_id = self.context.request_id(),
                        trace_id = self.context.trace_id(),
                        span_id = self.context.span_id(),
                    );
                }
            };
        }
        if self.is_probe {
            log!(Level::DEBUG);
        } else if (500..600).contains(&self.status) {
            log!(Level::ERROR);
        } else {
            log!(Level::INFO);
        }
    }

    /// The URL as the client wrote it, as far as the request tells.
    fn url(&self) -> String {
        let host = text(self.host);
        let authority = self.context.uri().authority().map(Authority::as_str);
        let authority = authority.or(host.as_deref());
        let authority =
            authority.map_or_else(|| Cow::Owned(self.address.to_string()), Cow::Borrowed);
        let path = self.context.uri().path_and_query().map_or("/", PathAndQuery::as_str);
        [self.scheme.as_str(), "://", &*authority, path].concat()
    }
}

/// A header as text; bytes that are no UTF-8 are replaced.
pub(super) fn text(value: Option<&HeaderValue>) -> Option<Cow<'_, str>> {
    value.map(HeaderValue::as_bytes).map(|bytes| {
        str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
    })
}
