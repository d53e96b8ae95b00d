//! What clients get whose request never reaches the application.

use prometheus_client::metrics::counter::Counter;

/// Connections that were closed when they came, by what was wanting.
#[derive(Clone, Debug, Default)]
pub struct Refused {
    /// The client's address, or all, hold too much memory.
    pub memory: Counter,
    /// The client's address, or all, hold too many connections for the limit of open files.
    pub descriptors: Counter,
}

/// What a client gets whose head is not complete in time; it has sent no request that could be logged.
pub(crate) const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// What a client gets for whose connection or request there is no memory.
pub(crate) const UNAVAILABLE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\
    content-length: 0\r\nconnection: close\r\n\r\n";
