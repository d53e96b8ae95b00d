//! The line that the log has for each request.
//!
//! It does not go through `tracing` as an event of a dozen fields, which takes twice as long: only whether
//! it is wanted is asked of the filter, once.

use std::time::Duration;

use tracing::{Level, enabled};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::Registry;

use super::json::push_escaped;
use super::targets::ACCESS_LOG;
use super::words::Words;
use crate::config::LogFilter;
use crate::context::{RequestContext, push_address};

const MESSAGE: &str = "Incoming request";

/// A request and its answer, as the log has them.
#[derive(Debug)]
pub struct AccessLine<'a> {
    /// How much it matters.
    pub level: Level,
    /// The request's method, its client, and its ids.
    pub context: &'a RequestContext,
    /// The scheme of its URL.
    pub scheme: &'static str,
    /// The host of its URL, with a port if it has one.
    pub authority: &'a str,
    /// The path of its URL, with its query.
    pub path: &'a str,
    /// What the client says it is.
    pub user_agent: Option<&'a str>,
    /// The answer's status.
    pub status: u16,
    /// From the request's head to the end of its answer.
    pub duration: Duration,
    /// Why there is no complete answer, or none but an error.
    pub error: Option<&'a str>,
}

impl AccessLine<'_> {
    /// Appends its members, from the message on, and the end of the line's object.
    pub(super) fn write_json(&self, service: &str, line: &mut String) {
        let context = self.context;
        line.push_str(",\"message\":\"");
        line.push_str(MESSAGE);
        line.push_str("\",\"service\":\"");
        line.push_str(service);
        line.push_str("\",\"req\":{\"method\":\"");
        line.push_str(context.method().as_str());
        line.push_str("\",\"url\":\"");
        line.push_str(self.scheme);
        line.push_str("://");
        push_escaped(line, self.authority);
        push_escaped(line, self.path);
        line.push_str("\",\"client\":\"");
        push_address(line, context.client());
        line.push_str("\",\"user-agent\":\"");
        push_escaped(line, self.user_agent());
        line.push_str("\"},\"res\":{\"status_code\":");
        line.push_str(itoa::Buffer::new().format(self.status));
        line.push_str("},\"duration_ms\":");
        push_milliseconds(line, self.duration);
        if let Some(error) = self.error {
            line.push_str(",\"error\":\"");
            push_escaped(line, error);
            line.push('"');
        }
        line.push_str(",\"request_id\":\"");
        push_escaped(line, context.request_id());
        line.push_str("\",\"trace_id\":\"");
        line.push_str(context.trace_id());
        if let Some(span_id) = context.span_id() {
            line.push_str("\",\"span_id\":\"");
            line.push_str(span_id);
        }
        line.push_str("\"}");
    }

    /// Appends its fields, the message first.
    pub(super) fn write_pretty(&self, words: &mut Words<'_>) {
        let context = self.context;
        let mut duration = String::new();
        push_milliseconds(&mut duration, self.duration);
        words.push("message", MESSAGE);
        words.push("req.method", context.method().as_str());
        words.push("req.url", &[self.scheme, "://", self.authority, self.path].concat());
        words.push("req.client", &context.client_text());
        words.push("req.user-agent", self.user_agent());
        words.push("res.status_code", itoa::Buffer::new().format(self.status));
        words.push("duration_ms", &duration);
        for (name, value) in [
            ("error", self.error),
            ("request_id", Some(context.request_id())),
            ("trace_id", Some(context.trace_id())),
            ("span_id", context.span_id()),
        ] {
            if let Some(value) = value {
                words.push(name, value);
            }
        }
    }

    fn user_agent(&self) -> &str {
        self.user_agent.unwrap_or("N/A")
    }
}

/// The least that lines of the access log must matter for a filter to let them pass.
pub(super) fn level(filter: &LogFilter) -> LevelFilter {
    // No filter tells it but by being asked for an event.
    let subscriber = Registry::default().with(filter.env_filter());
    tracing::subscriber::with_default(subscriber, || {
        if enabled!(target: ACCESS_LOG, Level::DEBUG) {
            LevelFilter::DEBUG
        } else if enabled!(target: ACCESS_LOG, Level::INFO) {
            LevelFilter::INFO
        } else if enabled!(target: ACCESS_LOG, Level::WARN) {
            LevelFilter::WARN
        } else if enabled!(target: ACCESS_LOG, Level::ERROR) {
            LevelFilter::ERROR
        } else {
            LevelFilter::OFF
        }
    })
}

/// Appends a duration in milliseconds with three decimals, without zeros at their end.
fn push_milliseconds(line: &mut String, duration: Duration) {
    let microseconds = (duration.as_nanos() + 500) / 1000;
    // Fits for half a million years.
    let microseconds = u64::try_from(microseconds).unwrap_or(u64::MAX);
    let mut digits = itoa::Buffer::new();
    line.push_str(digits.format(microseconds / 1000));
    if !microseconds.is_multiple_of(1000) {
        line.push('.');
        // The leading digit keeps the zeros.
        line.push_str(digits.format(1000 + microseconds % 1000)[1..].trim_end_matches('0'));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn milliseconds(duration: Duration) -> String {
        let mut line = String::new();
        push_milliseconds(&mut line, duration);
        line
    }

    proptest! {
        #[test]
        fn a_duration_is_told_to_the_microsecond(microseconds in 0_u64..100_000_000, less in 0_u64..1000) {
            let exact = Duration::from_micros(microseconds);
            let rounded = exact.as_secs_f64() * 1e3;

            prop_assert_eq!(milliseconds(exact), ((rounded * 1e3).round() / 1e3).to_string());
            let about = Duration::from_nanos(microseconds * 1000 + less);
            let nearest = microseconds + u64::from(less >= 500);
            prop_assert_eq!(milliseconds(about), milliseconds(Duration::from_micros(nearest)));
        }
    }

    #[test]
    fn a_filter_is_heeded_by_target_and_level() {
        for (filter, expected) in [
            ("info", LevelFilter::INFO),
            ("trace", LevelFilter::DEBUG),
            ("off", LevelFilter::OFF),
            ("warn,access_log=info", LevelFilter::INFO),
            ("info,access_log=debug", LevelFilter::DEBUG),
            ("info,access_log=off", LevelFilter::OFF),
            ("error", LevelFilter::ERROR),
            ("warn", LevelFilter::WARN),
            ("sqlx=debug,hyper=info", LevelFilter::OFF),
        ] {
            assert_eq!(level(&filter.parse().unwrap()), expected, "{filter}");
        }
    }
}
