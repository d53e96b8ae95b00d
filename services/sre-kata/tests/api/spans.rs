//! The export of spans, to a collector of our own. All services share it; here it is asked of a real process.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use test_support::{Answer, Binary, Collector, RawConnection, Signal, free_port, wait_until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_sre-kata");
const TIMEOUT: Duration = Duration::from_secs(30);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// The service, which exports to this endpoint without much delay.
fn serve(endpoint: &str, more: &[(&str, &str)]) -> Binary {
    let export = [("OTEL_BSP_SCHEDULE_DELAY", "10"), ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)];
    Binary::serve(PROGRAM, &[], &[&export[..], more].concat())
}

async fn ask(binary: &Binary, path: &str, headers: &str) -> u16 {
    ask_by("GET", binary, path, headers).await
}

async fn ask_by(method: &str, binary: &Binary, path: &str, headers: &str) -> u16 {
    let mut connection = RawConnection::open(binary.addr().await).await;
    connection.send(format!("{method} {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n")).await;
    connection.response().await.unwrap().status
}

fn caller(flags: &str) -> String {
    format!("traceparent: 00-{TRACE}-{CALLER}-{flags}\r\n")
}

async fn stop(mut binary: Binary) -> Binary {
    binary.signal(Signal::TERM);
    assert_eq!(binary.exit(TIMEOUT).await.code(), Some(0));
    binary
}

/// The value of a sample of `/metrics`.
async fn metric(binary: &Binary, sample: &str) -> f64 {
    let text = metrics(binary, "text/plain").await;
    let value = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    value.unwrap().parse().unwrap()
}

async fn metrics(binary: &Binary, accept: &str) -> String {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/metrics", binary.addr().await);
    let answer = client.request(Method::GET, url).header("accept", accept).send().await.unwrap();
    answer.text().await.unwrap()
}

#[tokio::test]
async fn a_request_is_a_span_under_its_caller_by_the_semantic_conventions() {
    let collector = Collector::start().await;
    let binary = serve(&collector.endpoint(), &[]);
    let port = binary.addr().await.port().to_string();

    assert_eq!(ask(&binary, "/query?param=chosen", &caller("01")).await, 200);
    let binary = stop(binary).await;

    let spans = collector.trace(TRACE, |spans| spans.len() == 1).await;
    let span = &spans[0];
    assert_eq!((span.name(), span.kind(), span.failed()), ("GET /query", "server", false));
    assert_eq!(span.parent(), CALLER);
    let attributes = [
        ("client.address", "127.0.0.1"),
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("http.route", "/query"),
        ("network.protocol.version", "1.1"),
        ("server.address", "127.0.0.1"),
        ("server.port", &port),
        ("url.path", "/query"),
        ("url.scheme", "http"),
    ];
    let attributes = attributes.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(span.attributes, BTreeMap::from(attributes));
    assert_eq!(span.integer("http.response.status_code"), Some(200));
    assert_eq!(span.integer("server.port").unwrap().to_string(), port);
    assert_eq!(span.service(), "sre-kata");
    assert_eq!(span.resource["service.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(span.resource["telemetry.sdk.language"], "rust");
    // The line of the log leads to the span.
    let logs = binary.logs();
    let line = logs.iter().find(|line| line["message"] == "Incoming request").unwrap();
    assert_eq!((&line["trace_id"], &line["span_id"]), (&TRACE.into(), &span.span_id().into()));
}

#[tokio::test]
async fn no_attribute_and_no_series_has_what_a_client_makes_up() {
    let collector = Collector::start().await;
    let binary = serve(&collector.endpoint(), &[]);

    for number in 0..20 {
        let word = format!("chosen{number}");
        let headers =
            format!("user-agent: {word}\r\nx-forwarded-for: {word}\r\n{word}: {word}\r\n");
        assert_eq!(ask(&binary, &format!("/{word}?{word}={word}"), &headers).await, 404);
        assert_eq!(ask_by(&word.to_uppercase(), &binary, "/query", &headers).await, 405);
        assert_eq!(ask(&binary, &format!("/docs/{word}"), &headers).await, 404);
    }
    let series = metrics(&binary, "text/plain").await;
    assert!(!series.to_lowercase().contains("chosen"), "{series}");
    stop(binary).await;

    let spans = collector.spans();
    assert_eq!(spans.iter().filter(|span| span.name() == "GET").count(), 20);
    assert_eq!(spans.iter().filter(|span| span.name() == "HTTP /query").count(), 20);
    for span in spans {
        assert!(!format!("{span:?}").to_lowercase().contains("chosen"), "{span:?}");
    }
}

#[tokio::test]
async fn a_request_without_a_caller_begins_the_trace_that_its_line_names() {
    let collector = Collector::start().await;
    let binary = serve(&collector.endpoint(), &[]);

    assert_eq!(ask(&binary, "/nothing", "").await, 404);
    let binary = stop(binary).await;

    let spans = collector.spans();
    assert_eq!((spans[0].name(), spans[0].parent().as_str()), ("GET", ""));
    let logs = binary.logs();
    let line = logs.iter().find(|line| line["res"]["status_code"] == 404).unwrap();
    assert_eq!(line["trace_id"], spans[0].trace_id());
}

#[tokio::test]
async fn a_strange_caller_is_taken_as_far_as_it_can_be_understood() {
    let collector = Collector::start().await;
    let binary = serve(&collector.endpoint(), &[]);
    let state = format!("tracestate: a={}\r\n", "x".repeat(200));
    let endless = format!("tracestate: a={}\r\n", "x".repeat(64 * 1024));
    let tomorrow = format!("traceparent: 7e-{TRACE}-{CALLER}-ff-more-of-it\r\n");
    let malformed = format!("traceparent: 00-{TRACE}-{CALLER}\r\n");

    for headers in [&caller("ff"), &tomorrow, &(caller("01") + &state), &(caller("01") + &endless)]
    {
        assert_eq!(ask(&binary, "/query?param=aa", headers).await, 200);
    }
    assert_eq!(ask(&binary, "/query?param=aa", &malformed).await, 200);
    assert_eq!(ask(&binary, "/query?param=aa", &caller("00")).await, 200);
    stop(binary).await;

    let mut spans = collector.spans();
    spans.retain(|span| span.trace_id() == TRACE);
    assert_eq!(spans.len(), 4, "what the caller does not record is not recorded");
    assert!(spans.iter().all(|span| span.parent() == CALLER));
    let states: Vec<usize> = spans.iter().map(|span| span.trace_state().len()).collect();
    assert_eq!(states, [0, 0, 202, 0]);
    assert_eq!(collector.spans().len(), 5);
}

#[tokio::test]
async fn the_standard_variables_do_what_the_specification_says() {
    let collector = Collector::start().await;
    let endpoint = collector.endpoint();
    let traces = format!("{endpoint}/v1/traces");
    let attributes = "deployment.environment.name=a%20b%2Cc,service.name=other,team=x";

    let binary = serve(
        "http://127.0.0.1:9",
        &[
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &traces),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_SERVICE_NAME", "kata"),
            ("OTEL_RESOURCE_ATTRIBUTES", attributes),
            ("OTEL_TRACES_SAMPLER", "always_on"),
        ],
    );
    assert_eq!(ask(&binary, "/query?param=aa", &caller("00")).await, 200);
    stop(binary).await;
    let spans = collector.spans();
    assert_eq!((spans.len(), spans[0].service()), (1, "kata"));
    assert_eq!(spans[0].resource["deployment.environment.name"], "a b,c");
    assert_eq!(spans[0].resource["team"], "x");

    // Nothing more is exported by these.
    for more in [
        vec![("OTEL_SDK_DISABLED", "TRUE")],
        vec![("OTEL_TRACES_SAMPLER", "always_off")],
        vec![("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0")],
        vec![("OTEL_TRACES_SAMPLER", "parentbased_always_off")],
        vec![("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0")],
    ] {
        let binary = serve(&endpoint, &more);
        assert_eq!(ask(&binary, "/query?param=aa", "").await, 200);
        let binary = stop(binary).await;
        assert_eq!(collector.spans().len(), 1, "{more:?}");
        let logs = binary.logs();
        let line = logs.iter().find(|line| line["message"] == "Incoming request").unwrap();
        assert_eq!(line["trace_id"].as_str().unwrap().len(), 32);
        assert!(line["span_id"].is_null(), "{line}");
    }
}

#[tokio::test]
async fn a_ratio_records_about_that_share_of_traces() {
    let collector = Collector::start().await;
    let ratio = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.25")];
    let binary = serve(&collector.endpoint(), &ratio);
    let mut connection = RawConnection::open(binary.addr().await).await;
    for _ in 0..1000 {
        connection.send("GET /query?param=aa HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert_eq!(connection.response().await.unwrap().status, 200);
    }
    drop(connection);
    stop(binary).await;

    // Eleven standard deviations either way.
    let recorded = collector.spans().len();
    assert!((100..400).contains(&recorded), "{recorded}");
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_by_name() {
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
        ("OTEL_SDK_DISABLED", "yes"),
        ("OTEL_RESOURCE_ATTRIBUTES", "no pair"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://hidden"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
    ] {
        let mut binary = serve("http://127.0.0.1:9", &[(name, value)]);

        assert_eq!(binary.exit(TIMEOUT).await.code(), Some(78), "{name}={value}");
        let said = binary.error_lines().join("\n");
        assert!(said.contains(&format!("\n{name}: ")), "{said}");
        assert!(!said.contains(value), "{said}");
    }
}

#[tokio::test]
async fn a_collector_that_is_no_use_holds_up_nothing_and_what_is_lost_is_counted() {
    const QUEUE: f64 = 8.0;
    let lost = |reason: &str| format!("otlp_spans_dropped_total{{reason=\"{reason}\"}}");
    for answer in [
        None,
        Some(Answer::Silence),
        Some(Answer::Refuse(503)),
        Some(Answer::Refuse(400)),
        Some(Answer::Noise),
    ] {
        let collector = Collector::start().await;
        let endpoint = match answer {
            None => format!("http://127.0.0.1:{}", free_port()),
            Some(answer) => {
                collector.answer(answer);
                collector.endpoint()
            }
        };
        let queue = [("OTEL_BSP_MAX_QUEUE_SIZE", "8"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "60000")];
        let binary = serve(&endpoint, &queue);
        for _ in 0..100 {
            assert_eq!(ask(&binary, "/query?param=aa", "").await, 200, "{answer:?}");
        }

        // All but what waits or is on its way is counted.
        wait_until("the lost spans are counted", TIMEOUT, async || {
            let full = metric(&binary, &lost("queue_full")).await;
            full + metric(&binary, &lost("export_failed")).await >= 100.0 - QUEUE
        })
        .await;
        assert!(metric(&binary, "otlp_spans_exported_total").await < f64::EPSILON, "{answer:?}");
        stop(binary).await;
    }
}

#[tokio::test]
async fn after_an_outage_spans_are_exported_again() {
    let collector = Collector::start().await;
    collector.answer(Answer::Refuse(400));
    let binary = serve(&collector.endpoint(), &[]);
    let failed = "otlp_spans_dropped_total{reason=\"export_failed\"}";
    assert_eq!(ask(&binary, "/query?param=aa", "").await, 200);
    wait_until("a span is lost", TIMEOUT, async || metric(&binary, failed).await >= 1.0).await;

    // An answer that is no protobuf does not undo that the spans were taken.
    collector.answer(Answer::Garbage);
    assert_eq!(ask(&binary, "/query?param=aa", &caller("01")).await, 200);

    collector.trace(TRACE, |spans| spans.len() == 1).await;
    let exported = "otlp_spans_exported_total";
    wait_until("it is counted", TIMEOUT, async || metric(&binary, exported).await >= 1.0).await;
    stop(binary).await;
}

#[tokio::test]
async fn the_histogram_leads_to_the_trace_of_an_example() {
    let collector = Collector::start().await;
    let binary = serve(&collector.endpoint(), &[]);
    assert_eq!(ask(&binary, "/query?param=aa", &caller("01")).await, 200);

    let openmetrics = metrics(&binary, "application/openmetrics-text").await;
    let exemplar = format!("# {{trace_id=\"{TRACE}\",span_id=\"");
    let bucket = openmetrics.lines().find(|line| line.contains(&exemplar)).unwrap();
    assert!(bucket.contains("_bucket{"), "{bucket}");
    assert!(bucket.contains("http_route=\"/query\""), "{bucket}");
    // The older format has no place for it.
    let text = metrics(&binary, "text/plain").await;
    assert!(!text.contains("trace_id"), "{text}");
    // What is not recorded cannot be found.
    assert_eq!(ask(&binary, "/healthcheck", &caller("00")).await, 200);
    let openmetrics = metrics(&binary, "application/openmetrics-text").await;
    let other = openmetrics.lines().filter(|line| line.contains("/healthcheck"));
    assert!(other.clone().count() > 1);
    assert_eq!(other.filter(|line| line.contains("trace_id")).count(), 0);
    stop(binary).await;
}
