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
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::{Layer, layer};

use super::access_log::AccessLine;
use super::json::{Escaped, push_json_string};
use super::sink::Sink;
use super::words::Words;
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

/// The layer that writes every event as one line, and requests as lines of the access log.
#[derive(Debug)]
pub struct Lines {
    service: &'static str,
    format: Format,
    sinks: Vec<Sink>,
    /// How much of the access log is written.
    access_log: LevelFilter,
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
        Self { service: service.name, format, sinks, access_log: LevelFilter::OFF }
    }

    /// Lets so much of the access log pass.
    pub(super) fn with_access_log(self, access_log: LevelFilter) -> Self {
        Self { access_log, ..self }
    }

    /// Writes a line of the access log, if its level is let pass.
    pub(super) fn write_access(&self, access: &AccessLine<'_>) {
        if access.level > self.access_log {
            return;
        }
        self.write(|line| match self.format {
            Format::Json => {
                begin_json(line, access.level);
                access.write_json(self.service, line);
            }
            Format::Pretty { colour } => {
                begin_pretty(line, access.level, colour);
                access.write_pretty(&mut Words::new(line, colour));
            }
        });
    }

    /// Gives the sinks a line.
    fn write(&self, line: impl FnOnce(&mut String)) {
        LINE.with(|scratch| {
            // A value whose `Debug` logs would come back here; its inner event gets a line of its own.
            let Ok(mut scratch) = scratch.try_borrow_mut() else {
                return;
            };
            scratch.clear();
            line(&mut scratch);
            scratch.push('\n');
            for sink in &self.sinks {
                sink.push(scratch.as_bytes());
            }
        });
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        self.write(|line| match self.format {
            Format::Json => write_json(self.service, event, line),
            Format::Pretty { colour } => write_pretty(colour, event, line),
        });
    }
}

fn begin_json(line: &mut String, level: Level) {
    line.push_str("{\"timestamp\":\"");
    push_timestamp(line);
    line.push_str("\",\"level\":\"");
    line.push_str(level.as_str());
    line.push('"');
}

fn write_json(service: &str, event: &Event<'_>, line: &mut String) {
    let metadata = event.metadata();
    begin_json(line, *metadata.level());
    let mut members = Members { line, group: None, after_message: Some(service) };
    event.record(&mut members);
    if let Some(service) = members.after_message.take() {
        members.string("service", service);
    }
    members.string("target", metadata.target());
    members.ids();
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
        if value.is_finite() {
            self.display(field.name(), value);
        } else {
            // JSON has no word for it.
            self.display(field.name(), "null");
        }
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

fn begin_pretty(line: &mut String, level: Level, colour: bool) {
    let number = match level {
        Level::ERROR => "31",
        Level::WARN => "33",
        Level::INFO => "32",
        Level::DEBUG => "34",
        Level::TRACE => "35",
    };
    let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    // The date is known to whoever looks at the screen.
    let time = time.get(11..23).unwrap_or(&time);
    let level = level.as_str();
    let _ = if colour {
        write!(line, "\x1b[2m{time}\x1b[0m \x1b[{number}m{level:>5}\x1b[0m")
    } else {
        write!(line, "{time} {level:>5}")
    };
}

fn write_pretty(colour: bool, event: &Event<'_>, line: &mut String) {
    begin_pretty(line, *event.metadata().level(), colour);
    event.record(&mut Words::new(line, colour));
    RequestContext::with_current(|context| {
        let _ = write!(line, " request_id={}", context.request_id());
    });
}
