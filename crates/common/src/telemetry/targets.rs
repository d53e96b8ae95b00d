//! The targets of events and spans, for filter directives such as `info,access_log=off`.

/// The access log.
pub(super) const ACCESS_LOG: &str = "access_log";

/// The spans that are exported; the exporter's own HTTP client must not be among them.
pub const SPANS: &str = "spans";
