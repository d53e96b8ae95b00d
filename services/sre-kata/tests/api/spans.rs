//! The export of spans, to a collector of our own that speaks OTLP over HTTP.
#![expect(clippy::disallowed_methods, reason = "the collector ends with its test")]

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use test_support::{Binary, RawConnection, Signal};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

const PROGRAM: &str = env!("CARGO_BIN_EXE_sre-kata");
const PATIENCE: Duration = Duration::from_secs(30);
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// Takes exports and hands on what they hold: the resource's service name, and spans.
async fn collect(listener: TcpListener, spans: mpsc::UnboundedSender<(String, Span)>) {
    while let Ok((stream, _)) = listener.accept().await {
        let spans = spans.clone();
        tokio::spawn(async move {
            let mut stream = BufReader::new(stream);
            while let Some(export) = read_export(&mut stream).await {
                for resource_spans in export.resource_spans {
                    let attributes = resource_spans.resource.unwrap().attributes;
                    let name =
                        attributes.into_iter().find(|attribute| attribute.key == "service.name");
                    let name = format!("{:?}", name.unwrap().value);
                    for span in resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans)
                    {
                        spans.send((name.clone(), span)).unwrap();
                    }
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            }
        });
    }
}

async fn read_export(stream: &mut BufReader<TcpStream>) -> Option<ExportTraceServiceRequest> {
    let mut length = 0;
    let mut line = String::new();
    while stream.read_line(&mut line).await.ok()? > 0 && line != "\r\n" {
        if length == 0 {
            assert!(line.starts_with("POST /v1/traces ") || !line.starts_with("POST"), "{line}");
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    if length == 0 {
        return None;
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(ExportTraceServiceRequest::decode(body.as_slice()).unwrap())
}

fn serve(endpoint: &str, more: &[(&str, &str)]) -> Binary {
    let mut variables = vec![
        ("HOST", "127.0.0.1"),
        ("PORT", "0"),
        ("WORKERS", "1"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
    ];
    variables.extend(more);
    Binary::start(PROGRAM, &[], &variables)
}

async fn ask(binary: &Binary, path: &str, headers: &str) -> u16 {
    let mut connection = RawConnection::open(binary.addr().await).await;
    connection.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n")).await;
    connection.response().await.unwrap().status
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[tokio::test]
async fn a_request_is_a_span_under_its_caller_and_flushed_at_the_stop() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (sender, mut spans) = mpsc::unbounded_channel();
    tokio::spawn(collect(listener, sender));
    let mut binary =
        serve(&endpoint, &[("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")]);

    let traceparent = format!("traceparent: 00-{TRACE_ID}-{CALLER}-01\r\n");
    assert_eq!(ask(&binary, "/query?param=aa", &traceparent).await, 200);
    assert_eq!(ask(&binary, "/nothing", "").await, 404);
    binary.signal(Signal::TERM);
    assert_eq!(binary.exit(PATIENCE).await.code(), Some(0));

    let (service, span) = spans.recv().await.unwrap();
    assert!(service.contains("sre-kata"), "{service}");
    assert_eq!(span.name, "GET /query");
    assert_eq!(hex(&span.trace_id), TRACE_ID);
    assert_eq!(hex(&span.parent_span_id), CALLER);
    let attribute = |key: &str| {
        let found = span.attributes.iter().find(|attribute| attribute.key == key);
        format!("{:?}", found.and_then(|attribute| attribute.value.as_ref()))
    };
    assert!(attribute("http.route").contains("/query"), "{span:?}");
    assert!(attribute("http.response.status_code").contains("200"), "{span:?}");
    assert!(attribute("url.path").contains("/query"), "{span:?}");
    // The next request has no caller; its log line names the trace that was exported.
    let (_, span) = spans.recv().await.unwrap();
    assert_eq!(span.name, "GET unmatched");
    let logs = binary.logs();
    let line = logs.iter().find(|line| line["res"]["status_code"] == 404).unwrap();
    assert_eq!(line["trace_id"], hex(&span.trace_id));
}

#[tokio::test]
async fn a_collector_that_is_away_costs_no_request_and_no_stop() {
    // One port that nobody listens on, one where nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for port in [test_support::free_port(), silent.local_addr().unwrap().port()] {
        let mut binary =
            serve(&format!("http://127.0.0.1:{port}"), &[("OTEL_BSP_SCHEDULE_DELAY", "10")]);
        for _ in 0..50 {
            assert_eq!(ask(&binary, "/query?param=aa", "").await, 200);
        }

        binary.signal(Signal::TERM);

        assert_eq!(binary.exit(PATIENCE).await.code(), Some(0));
    }
}
