use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::wait::wait_until;

/// How long an export may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A span as a collector gets it, with the resource that it comes from.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The resource's attributes.
    pub resource: BTreeMap<String, String>,
    /// The span's attributes.
    pub attributes: BTreeMap<String, String>,
    span: Span,
}

impl Exported {
    /// The spans of an export, as it was sent.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(body: &[u8]) -> Result<Vec<Self>, prost::DecodeError> {
        let export = ExportTraceServiceRequest::decode(body)?;
        let mut spans = Vec::new();
        for of_resource in export.resource_spans {
            let resource = texts(&of_resource.resource.unwrap_or_default().attributes);
            for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                let attributes = texts(&span.attributes);
                spans.push(Self { resource: resource.clone(), attributes, span });
            }
        }
        Ok(spans)
    }

    /// `service.name` of the resource.
    pub fn service(&self) -> &str {
        self.resource.get("service.name").map_or("", String::as_str)
    }

    /// The span's name.
    pub fn name(&self) -> &str {
        &self.span.name
    }

    /// `server`, `client`, `internal`, `producer` or `consumer`.
    pub fn kind(&self) -> &'static str {
        match self.span.kind() {
            SpanKind::Server => "server",
            SpanKind::Client => "client",
            SpanKind::Producer => "producer",
            SpanKind::Consumer => "consumer",
            SpanKind::Internal | SpanKind::Unspecified => "internal",
        }
    }

    /// The trace's id, as 32 hexadecimal digits.
    pub fn trace_id(&self) -> String {
        hex(&self.span.trace_id)
    }

    /// The span's id, as 16 hexadecimal digits.
    pub fn span_id(&self) -> String {
        hex(&self.span.span_id)
    }

    /// The parent's id, or nothing.
    pub fn parent(&self) -> String {
        hex(&self.span.parent_span_id)
    }

    /// The ids of the spans that it links to.
    pub fn links(&self) -> Vec<String> {
        self.span.links.iter().map(|link| hex(&link.span_id)).collect()
    }

    /// The traces that those spans are part of.
    pub fn linked_traces(&self) -> Vec<String> {
        self.span.links.iter().map(|link| hex(&link.trace_id)).collect()
    }

    /// Whether its status is an error.
    pub fn failed(&self) -> bool {
        let status = self.span.status.as_ref();
        status.is_some_and(|status| status.code() == StatusCode::Error)
    }

    /// `tracestate` of the trace.
    pub fn trace_state(&self) -> &str {
        &self.span.trace_state
    }

    /// An attribute that is a whole number.
    pub fn integer(&self, key: &str) -> Option<i64> {
        let attribute = self.span.attributes.iter().find(|pair| pair.key == key)?;
        match attribute.value.as_ref()?.value.as_ref()? {
            Value::IntValue(value) => Some(*value),
            _ => None,
        }
    }

    /// When it began, in nanoseconds since the epoch.
    pub fn start_ns(&self) -> u64 {
        self.span.start_time_unix_nano
    }

    /// How long it took.
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.span.end_time_unix_nano.saturating_sub(self.start_ns()))
    }
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    attributes.iter().map(|pair| (pair.key.clone(), text(pair.value.as_ref()))).collect()
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::BoolValue(value)) => value.to_string(),
        Some(Value::IntValue(value)) => value.to_string(),
        Some(Value::DoubleValue(value)) => value.to_string(),
        other => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Spans as a tree, a line each, children below their parent in the order in which they began. A span whose parent is
/// not among them begins a tree.
pub fn tree(spans: &[Exported], line: impl Fn(&Exported) -> String) -> String {
    let mut sorted: Vec<&Exported> = spans.iter().collect();
    sorted.sort_by_key(|span| span.start_ns());
    let ids: Vec<String> = spans.iter().map(Exported::span_id).collect();
    // A stack of what is yet to be written, the next one last.
    let mut rest: Vec<(usize, &Exported)> = sorted
        .iter()
        .rev()
        .filter(|span| !ids.contains(&span.parent()))
        .map(|span| (0, *span))
        .collect();
    let mut text = String::new();
    while let Some((depth, span)) = rest.pop() {
        text.push_str(&"  ".repeat(depth));
        text.push_str(&line(span));
        text.push('\n');
        let id = span.span_id();
        let children = sorted.iter().rev().filter(|child| child.parent() == id);
        rest.extend(children.map(|child| (depth + 1, *child)));
    }
    text
}

/// What a collector does with an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Takes it.
    Take,
    /// Refuses it with this status.
    Refuse(u16),
    /// Takes it, and answers with 200 and what is no protobuf.
    Garbage,
    /// Sends what is no HTTP.
    Noise,
    /// Never answers.
    Silence,
}

/// A collector that speaks OTLP over HTTP and remembers what it took, until it is dropped.
#[derive(Debug)]
pub struct Collector {
    addr: SocketAddr,
    spans: Arc<Mutex<Vec<Exported>>>,
    answer: Arc<Mutex<Answer>>,
    _tasks: JoinSet<()>,
}

impl Collector {
    /// One that takes everything.
    ///
    /// # Panics
    /// When there is no port for it.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let addr = listener.local_addr().expect("it is bound");
        let (spans, answer) = (Arc::default(), Arc::new(Mutex::new(Answer::Take)));
        let mut tasks = JoinSet::new();
        let shared = (Arc::clone(&spans), Arc::clone(&answer));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&shared.0), Arc::clone(&shared.1)));
            }
        });
        Self { addr, spans, answer, _tasks: tasks }
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` is to be.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Answers so from now on.
    ///
    /// # Panics
    /// When a connection has panicked.
    pub fn answer(&self, answer: Answer) {
        *self.answer.lock().expect("no connection has panicked") = answer;
    }

    /// The spans that it took so far.
    ///
    /// # Panics
    /// When a connection has panicked.
    pub fn spans(&self) -> Vec<Exported> {
        self.spans.lock().expect("no connection has panicked").clone()
    }

    /// The spans of a trace, once `are_complete` says so.
    ///
    /// # Panics
    /// When they are not within 30 s.
    pub async fn trace(
        &self,
        trace_id: &str,
        are_complete: impl Fn(&[Exported]) -> bool,
    ) -> Vec<Exported> {
        let mut found = Vec::new();
        wait_until(&format!("trace {trace_id} is complete"), TIMEOUT, async || {
            found = self.spans();
            found.retain(|span| span.trace_id() == trace_id);
            are_complete(&found)
        })
        .await;
        found
    }

    /// A trace of so many spans as a tree, a line `<service>: <kind> <name>` each.
    ///
    /// # Panics
    /// When they have not come within 30 s, or are more.
    pub async fn tree(&self, trace_id: &str, spans: usize) -> String {
        let found = self.trace(trace_id, |found| found.len() >= spans).await;
        let line = |span: &Exported| format!("{}: {} {}", span.service(), span.kind(), span.name());
        let tree = tree(&found, line);
        assert_eq!(found.len(), spans, "{tree}");
        tree
    }
}

async fn serve(stream: TcpStream, spans: Arc<Mutex<Vec<Exported>>>, answer: Arc<Mutex<Answer>>) {
    let mut stream = BufReader::new(stream);
    while let Some(body) = read_export(&mut stream).await {
        let answer = *answer.lock().expect("no connection has panicked");
        if matches!(answer, Answer::Take | Answer::Garbage) {
            let export = Exported::decode(&body).expect("an export");
            spans.lock().expect("no connection has panicked").extend(export);
        }
        let text = match answer {
            Answer::Take => "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned(),
            Answer::Refuse(status) => {
                format!("HTTP/1.1 {status} Refused\r\ncontent-length: 0\r\n\r\n")
            }
            Answer::Garbage => {
                "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n\u{7f}\u{7f}\u{7f}\u{7f}".to_owned()
            }
            Answer::Noise => "\u{7f}noise\r\n\r\n".to_owned(),
            Answer::Silence => std::future::pending().await,
        };
        if stream.write_all(text.as_bytes()).await.is_err() || answer == Answer::Noise {
            return;
        }
    }
}

/// The body of a POST to `/v1/traces`; none at the end of the connection.
async fn read_export(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let (mut line, mut length) = (String::new(), 0);
    stream.read_line(&mut line).await.ok()?;
    if line.is_empty() {
        return None;
    }
    assert!(line.starts_with("POST /v1/traces "), "{line}");
    while line != "\r\n" {
        line.clear();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(body)
}
