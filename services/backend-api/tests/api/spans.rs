//! One trace over services: this one, the external one, and each attempt to call it.

use std::path::Path;
use std::time::Duration;

use test_support::{Binary, Collector, RawConnection, skip};

use crate::upstream::{Upstream, empty, ok};
use crate::{DOWNLOAD, KEY};

const PROGRAM: &str = env!("CARGO_BIN_EXE_backend-api");
const TIMEOUT: Duration = Duration::from_secs(30);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn start(program: &str, collector: &Collector, variables: &[(&str, &str)]) -> Binary {
    let endpoint = collector.endpoint();
    let given = [("OTEL_BSP_SCHEDULE_DELAY", "10"), ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)];
    let variables: Vec<_> = given.iter().chain(variables).copied().collect();
    Binary::serve(program, &[], &variables)
}

fn serve(collector: &Collector, url: &str) -> Binary {
    let variables = [("EXTERNAL_API_URL", url), ("EXTERNAL_INTEGRATION_KEY", KEY)];
    start(PROGRAM, collector, &variables)
}

async fn download(binary: &Binary, headers: &str) -> u16 {
    let mut connection = RawConnection::open(binary.addr().await).await;
    let traceparent = format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\n");
    connection
        .send(format!("GET {DOWNLOAD} HTTP/1.1\r\nhost: x\r\n{traceparent}{headers}\r\n"))
        .await;
    connection.response().await.unwrap().status
}

#[tokio::test]
async fn a_request_that_data_api_answers_is_one_trace() {
    let data_api = Path::new(PROGRAM).with_file_name("data-api");
    if !data_api.exists() {
        skip("data-api", "its binary is not built; `cargo test --workspace` builds it");
        return;
    }
    let collector = Collector::start().await;
    let folder = tempfile::tempdir().unwrap();
    let folder = [("LOG_FILES_DIR", folder.path().to_str().unwrap()), ("LOGS_API_KEY", KEY)];
    let data_api = start(data_api.to_str().unwrap(), &collector, &folder);
    let url = format!("http://{}/logs/download?hidden=hidden", data_api.addr().await);
    let binary = serve(&collector, &url);

    assert_eq!(download(&binary, "tracestate: a=1\r\n").await, 200);

    assert_eq!(
        collector.tree(TRACE, 3).await,
        "backend-api: server GET /download_external_logs\n  \
           backend-api: client GET\n    \
             data-api: server GET /logs/download\n"
    );
    let spans = collector.trace(TRACE, |spans| spans.len() == 3).await;
    assert!(spans.iter().all(|span| span.trace_state() == "a=1"), "{spans:?}");
    let call = spans.iter().find(|span| span.kind() == "client").unwrap();
    let port = data_api.addr().await.port().to_string();
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("network.protocol.version", "1.1"),
        ("server.address", "127.0.0.1"),
        ("server.port", &port),
        ("url.full", &format!("http://127.0.0.1:{port}/logs/download")),
    ] {
        assert_eq!(call.attributes[key], value, "{key}");
    }
    assert_eq!(call.integer("http.response.status_code"), Some(200));
    assert!(!call.failed());
    assert!(!format!("{spans:?}").contains("hidden"), "{spans:?}");
    // What is logged on the way has the same ids.
    for (binary, span) in [
        (&binary, "backend-api: server GET /download_external_logs"),
        (&data_api, "data-api: server GET /logs/download"),
    ] {
        let request = |line: &serde_json::Value| (line["trace_id"] == TRACE).then(|| line.clone());
        let line = binary.wait_for_log("the request", TIMEOUT, request).await;
        let named = |exported: &&test_support::Exported| {
            span == format!("{}: {} {}", exported.service(), exported.kind(), exported.name())
        };
        assert_eq!(line["span_id"], spans.iter().find(named).unwrap().span_id());
    }
}

#[tokio::test]
async fn each_attempt_is_a_span_of_its_own() {
    let collector = Collector::start().await;
    let upstream =
        Upstream::start(vec![empty("503 Busy", ""), empty("502 Bad", ""), ok("here")]).await;
    let binary = serve(&collector, &upstream.url("/logs"));

    assert_eq!(download(&binary, "").await, 200);

    let spans = collector.trace(TRACE, |spans| spans.len() == 4).await;
    let mut attempts: Vec<_> = spans.iter().filter(|span| span.kind() == "client").collect();
    attempts.sort_by_key(|span| span.start_ns());
    assert_eq!(attempts[2].integer("http.request.resend_count"), Some(2));
    let told = attempts.iter().map(|span| {
        let attribute = |key: &str| span.attributes.get(key).map_or("", String::as_str);
        let status = attribute("http.response.status_code");
        (status, attribute("http.request.resend_count"), attribute("error.type"), span.failed())
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [("503", "", "503", true), ("502", "1", "502", true), ("200", "2", "", false)]
    );
    // Each carries its own id to the external service.
    let requests = upstream.requests().clone();
    for (attempt, request) in attempts.iter().zip(requests) {
        let traceparent = format!("traceparent: 00-{TRACE}-{}-01", attempt.span_id());
        assert!(request.contains(&traceparent), "{request}");
    }
}

#[tokio::test]
async fn a_call_that_fails_says_how() {
    let collector = Collector::start().await;
    let binary = serve(&collector, &format!("http://127.0.0.1:{}", test_support::free_port()));

    assert_eq!(download(&binary, "").await, 502);

    let spans = collector.trace(TRACE, |spans| spans.len() == 4).await;
    for span in &spans {
        let expected = if span.kind() == "client" { "unreachable" } else { "502" };
        assert_eq!(span.attributes["error.type"], expected, "{span:?}");
        assert!(span.failed());
    }
}
