//! Events as lines: JSON for machines, or coloured for people.
//!
//! Writing to a string cannot fail, so the results of `write!` are let go.
//!
//! A field `a.b` becomes the member `b` of an object `a`; fields of one object stand together.

use std::cell::RefCell;
use std::error::Error;
use std::fmt::{self, Write as _};
use std::io::IsTerminal as _;
use std::time::SystemTime;

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{Layer, layer};

use super::sink::Sink;
use super::targets::ACCESS_LOG;
use crate::Service;
use crate::causes::causes;
use crate::config::LogFormat;
use crate::context::RequestContext;

thread_local! {
    /// Each thread's scratch space for the line it is writing.
    static LINE: RefCell<String> = RefCell::new(String::with_capacity(1024));
    /// The second of the last line and its text up to there: thousands of lines share it.
    static SECOND: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// The layer that writes every event as one line.
#[derive(Debug)]
pub struct Lines {
    service: &'static str,
    format: Format,
    sinks: Vec<Sink>,
}

#[derive(Clone, Copy, Debug)]
enum Format {
    Json,
    Pretty { colour: bool },
}

impl Lines {
    /// Lines of this service in this format, into each of these sinks.
    #[must_use]
    pub fn new(service: &Service, format: LogFormat, sinks: Vec<Sink>) -> Self {
        let format = match format {
            LogFormat::Json => Format::Json,
            LogFormat::Pretty => Format::Pretty { colour: std::io::stdout().is_terminal() },
        };
        Self { service: service.name, format, sinks }
    }

    fn write(&self, event: &Event<'_>, line: &mut String) {
        match self.format {
            Format::Json => write_json(self.service, event, line),
            Format::Pretty { colour } => write_pretty(colour, event, line),
        }
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        LINE.with(|line| {
            // A value whose `Debug` logs would come back here; its inner event gets a line of its own.
            let Ok(mut line) = line.try_borrow_mut() else {
                return;
            };
            line.clear();
            self.write(event, &mut line);
            line.push('\n');
            for sink in &self.sinks {
                sink.push(line.as_bytes());
            }
        });
    }
}

fn write_json(service: &str, event: &Event<'_>, line: &mut String) {
    let metadata = event.metadata();
    line.push_str("{\"timestamp\":\"");
    push_timestamp(line);
    line.push_str("\",\"level\":\"");
    line.push_str(metadata.level().as_str());
    line.push('"');
    let mut members = Members { line, group: None, after_message: Some(service) };
    event.record(&mut members);
    members.close_group();
    if let Some(service) = members.after_message.take() {
        members.string("service", service);
    }
    // The access log says where it comes from by its shape, and has the ids among its fields.
    if metadata.target() != ACCESS_LOG {
        members.string("target", metadata.target());
        members.ids();
    }
    members.close_group();
    line.push('}');
}

/// The time in RFC 3339, with microseconds.
fn push_timestamp(line: &mut String) {
    let now = SystemTime::now();
    let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SECOND.with_borrow_mut(|(second, text)| {
        if *second != since_epoch.as_secs() || text.is_empty() {
            *second = since_epoch.as_secs();
            *text = humantime::format_rfc3339_seconds(now).to_string();
            text.truncate("2026-11-20T19:06:11".len());
        }
        line.push_str(text);
    });
    line.push('.');
    // The leading digit keeps the zeros.
    let mut digits = itoa::Buffer::new();
    line.push_str(&digits.format(1_000_000 + since_epoch.subsec_micros())[1..]);
    line.push('Z');
}

/// Writes fields as members of the line's object, `a.b` inside an object `a`.
struct Members<'a> {
    line: &'a mut String,
    /// The object that is open.
    group: Option<&'static str>,
    /// The service's name, to be written behind the message.
    after_message: Option<&'a str>,
}

impl Members<'_> {
    fn key(&mut self, name: &'static str) {
        let of_group = self.group.and_then(|group| name.strip_prefix(group)?.strip_prefix('.'));
        let key = of_group.unwrap_or_else(|| {
            self.close_group();
            // Not `split_once`, whose search costs more than most names are long.
            let Some(dot) = name.bytes().position(|byte| byte == b'.') else { return name };
            self.line.push_str(",\"");
            self.line.push_str(&name[..dot]);
            self.line.push_str("\":{");
            self.group = Some(&name[..dot]);
            &name[dot + 1..]
        });
        if self.line.as_bytes().last() != Some(&b'{') {
            self.line.push(',');
        }
        // Names stand in the source: there is nothing to escape.
        self.line.push('"');
        self.line.push_str(key);
        self.line.push_str("\":");
    }

    fn close_group(&mut self) {
        if self.group.take().is_some() {
            self.line.push('}');
        }
    }

    fn string(&mut self, name: &'static str, value: &str) {
        self.key(name);
        push_json_string(self.line, value);
        self.after(name);
    }

    /// The ids of the request and of the span in progress; where no span is, those of the request.
    fn ids(&mut self) {
        let span = Context::map_current(|context| context.span().span_context().clone());
        RequestContext::with_current(|context| {
            self.string("request_id", context.request_id());
            if !span.is_valid() {
                self.string("trace_id", context.trace_id());
                if let Some(span_id) = context.span_id() {
                    self.string("span_id", span_id);
                }
            }
        });
        if span.is_valid() {
            self.string("trace_id", &span.trace_id().to_string());
            self.string("span_id", &span.span_id().to_string());
        }
    }

    fn after(&mut self, name: &str) {
        if name == "message"
            && let Some(service) = self.after_message.take()
        {
            self.string("service", service);
        }
    }

    fn display(&mut self, name: &'static str, value: impl fmt::Display) {
        self.key(name);
        let _ = write!(self.line, "{value}");
    }
}

impl Visit for Members<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.string(field.name(), value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.record_str(field, &causes(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.key(field.name());
        self.line.push_str(itoa::Buffer::new().format(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.display(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.display(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.key(field.name());
        push_number(self.line, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // `format_args!` and `%value` arrive here, their `Debug` being the text itself.
        self.key(field.name());
        self.line.push('"');
        let _ = write!(Escaped(self.line), "{value:?}");
        self.line.push('"');
        self.after(field.name());
    }
}

/// Appends a JSON number.
fn push_number(line: &mut String, value: f64) {
    if !value.is_finite() {
        // JSON has no word for it.
        line.push_str("null");
    } else if let Some(thousandths) = whole_thousandths(value) {
        // Durations have three decimals at most, and finding the shortest text of a float is dear.
        let mut digits = itoa::Buffer::new();
        line.push_str(digits.format(thousandths / 1000));
        if !thousandths.is_multiple_of(1000) {
            line.push('.');
            line.push_str(digits.format(1000 + thousandths % 1000)[1..].trim_end_matches('0'));
        }
    } else {
        let _ = write!(line, "{value}");
    }
}

/// The number times 1 000, if it is not negative and has three decimals at most.
fn whole_thousandths(value: f64) -> Option<u32> {
    let thousandths = value * 1e3 + 0.5;
    if !(0.0..f64::from(u32::MAX)).contains(&thousandths) || value.is_sign_negative() {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "in the range above, cut off at the point"
    )]
    let thousandths = thousandths as u32;
    let is_exact = (f64::from(thousandths) / 1e3).to_bits() == value.to_bits();
    is_exact.then_some(thousandths)
}

/// Escapes what is formatted into it.
struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        push_escaped(self.0, text);
        Ok(())
    }
}

/// Appends a JSON string.
fn push_json_string(line: &mut String, value: &str) {
    line.push('"');
    push_escaped(line, value);
    line.push('"');
}

fn push_escaped(line: &mut String, value: &str) {
    let plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\' && byte != 0x7f;
    // Nearly all have nothing to escape. No early end, so that the processor looks at many bytes at once.
    if value.bytes().fold(true, |all, byte| all & plain(byte)) {
        line.push_str(value);
        return;
    }
    let mut written = 0;
    for (at, byte) in value.bytes().enumerate() {
        if plain(byte) {
            continue;
        }
        line.push_str(&value[written..at]);
        match byte {
            b'"' => line.push_str("\\\""),
            b'\\' => line.push_str("\\\\"),
            b'\n' => line.push_str("\\n"),
            b'\r' => line.push_str("\\r"),
            b'\t' => line.push_str("\\t"),
            // DEL too: a terminal that shows the line would act on it.
            control => {
                let _ = write!(line, "\\u{control:04x}");
            }
        }
        written = at + 1;
    }
    line.push_str(&value[written..]);
}

fn write_pretty(colour: bool, event: &Event<'_>, line: &mut String) {
    let metadata = event.metadata();
    let level = match *metadata.level() {
        Level::ERROR => "31",
        Level::WARN => "33",
        Level::INFO => "32",
        Level::DEBUG => "34",
        Level::TRACE => "35",
    };
    let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    // The date is known to whoever looks at the screen.
    let time = time.get(11..23).unwrap_or(&time);
    if colour {
        let _ = write!(
            line,
            "\x1b[2m{time}\x1b[0m \x1b[{level}m{:>5}\x1b[0m",
            metadata.level().as_str()
        );
    } else {
        let _ = write!(line, "{time} {:>5}", metadata.level().as_str());
    }
    event.record(&mut Words { line, colour });
    if metadata.target() != ACCESS_LOG {
        RequestContext::with_current(|context| {
            let _ = write!(line, " request_id={}", context.request_id());
        });
    }
}

/// Writes fields as `name=value`, the message bare.
struct Words<'a> {
    line: &'a mut String,
    colour: bool,
}

impl Visit for Words<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        // Control characters in a value must not reach the terminal.
        let shown = value.escape_debug();
        let _ = match field.name() {
            "message" => write!(self.line, " {shown}"),
            name if self.colour => write!(self.line, " \x1b[2m{name}=\x1b[0m{shown}"),
            name => write!(self.line, " {name}={shown}"),
        };
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.record_str(field, &causes(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(value: f64) -> String {
        let mut line = String::new();
        push_number(&mut line, value);
        line
    }

    #[test]
    fn numbers_are_as_short_as_can_be() {
        for (value, text) in [
            (0.0, "0"),
            (0.41, "0.41"),
            (0.001, "0.001"),
            (12.0, "12"),
            (1234.5, "1234.5"),
            (0.0004, "0.0004"),
            (-1.5, "-1.5"),
            (f64::NAN, "null"),
            (f64::INFINITY, "null"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    proptest! {
        #[test]
        fn a_number_is_read_back_as_it_was(value in prop_oneof![any::<f64>(), 0.0..1e4, (0_u32..10_000_000).prop_map(|n| f64::from(n) / 1e3)]) {
            prop_assume!(value.is_finite() && value.to_bits() != (-0.0_f64).to_bits());
            let read: f64 = number(value).parse().unwrap();
            prop_assert_eq!(read.to_bits(), value.to_bits());
        }
    }
}
