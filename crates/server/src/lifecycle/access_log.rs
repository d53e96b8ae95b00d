//! The line that the log has for each request.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use actix_web::http::header::HeaderValue;
use actix_web::http::uri::{Authority, PathAndQuery};
use common::context::RequestContext;
use common::telemetry::{AccessLine, log_request};
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
        let (host, user_agent) = (text(self.host), text(self.user_agent));
        let uri = self.context.uri();
        // As the client wrote it, as far as the request tells.
        let authority = uri.authority().map(Authority::as_str).or(host.as_deref());
        let authority =
            authority.map_or_else(|| Cow::Owned(self.address.to_string()), Cow::Borrowed);
        let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        log_request(&AccessLine {
            level: match self.status {
                _ if self.is_probe => Level::DEBUG,
                500..600 => Level::ERROR,
                _ => Level::INFO,
            },
            context: self.context,
            scheme: self.scheme.as_str(),
            authority: &authority,
            path,
            user_agent: user_agent.as_deref(),
            status: self.status,
            duration: self.duration,
            error: self.cause,
        });
    }
}

/// A header as text; bytes that are no UTF-8 are replaced.
pub(super) fn text(value: Option<&HeaderValue>) -> Option<Cow<'_, str>> {
    value.map(HeaderValue::as_bytes).map(|bytes| {
        str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
    })
}
