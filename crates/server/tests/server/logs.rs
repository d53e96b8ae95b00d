//! The access log.

use std::sync::LazyLock;
use std::time::Duration;

use actix_web::http::Uri;
use actix_web::http::header::{HeaderMap, HeaderValue};
use common::Service;
use common::config::{LogFilter, LogFormat};
use common::context::{REQUEST_ID, RequestContext, TRACEPARENT};
use common::telemetry::{AccessLine, Captured, Lines, Sink, log_request, subscriber};
use reqwest::Method;
use serde_json::Value;
use tracing::level_filters::LevelFilter;

use crate::demo;

#[tokio::test]
async fn a_request_is_one_line_of_the_agreed_shape() {
    let app = demo::start(&[]);
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut connection = app.connect().await;
    connection
        .send(format!(
            "GET /hello/?a=b%20c HTTP/1.1\r\nhost: localhost:3000\r\nuser-agent: curl/8.2.1\r\n\
             x-request-id: shape\r\ntraceparent: {traceparent}\r\n\r\n"
        ))
        .await;
    connection.response().await.unwrap();

    let lines = app.logs_of("shape").await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    let mut line = lines[0].clone();
    let duration = line["duration_ms"].take().as_f64().unwrap();
    assert!((0.0..10_000.0).contains(&duration), "{duration}");
    let timestamp = line["timestamp"].take();
    assert!(timestamp.as_str().unwrap().ends_with('Z'), "{timestamp}");
    assert_eq!(
        line,
        serde_json::json!({
            "timestamp": null,
            "level": "INFO",
            "message": "Incoming request",
            "service": "test",
            "req": {
                "method": "GET",
                "url": "http://localhost:3000/hello/?a=b%20c",
                "client": "127.0.0.1",
                "user-agent": "curl/8.2.1",
            },
            "res": {"status_code": 200},
            "duration_ms": null,
            "request_id": "shape",
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        })
    );
}

#[test]
fn members_stand_in_the_agreed_order() {
    let logs = Captured::default();
    let service = Service { name: "stakefish", ..demo::SERVICE };
    let lines = subscriber(logs.lines(&service), &LogFilter::everything(), None);

    tracing::dispatcher::with_default(&lines, || {
        tracing::info!(a.b = 1, a.c = f64::NAN, d.e = "f", g = 0.41, "An event");
        log_request(&answered(Some("no \"reason\"")));
    });

    let text = logs.text();
    let rests: Vec<_> =
        text.lines().map(|line| line.split_once("\",\"level\":\"INFO\",").unwrap().1).collect();
    assert_eq!(
        rests,
        [
            "\"message\":\"An event\",\"service\":\"stakefish\",\"a\":{\"b\":1,\"c\":null},\"d\":{\"e\":\"f\"},\
             \"g\":0.41,\"target\":\"server::logs\"}",
            "\"message\":\"Incoming request\",\"service\":\"stakefish\",\"req\":{\"method\":\"GET\",\
             \"url\":\"http://x/\",\"client\":\"10.0.0.1\",\"user-agent\":\"N/A\"},\"res\":{\"status_code\":200},\
             \"duration_ms\":0.41,\"error\":\"no \\\"reason\\\"\",\"request_id\":\"id\",\
             \"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\"}",
        ]
    );
}

#[test]
fn a_line_for_people_has_what_one_for_machines_has() {
    let logs = Captured::default();
    let sinks = vec![Sink::direct(logs.clone())];
    let lines = Lines::new(&demo::SERVICE, LogFormat::Pretty, sinks);

    tracing::dispatcher::with_default(&subscriber(lines, &LogFilter::everything(), None), || {
        log_request(&answered(Some("a\u{1b}[31m")));
    });

    let text = logs.text();
    let (_, rest) = text.split_once(' ').unwrap();
    assert_eq!(
        rest,
        " INFO Incoming request req.method=GET req.url=http://x/ req.client=10.0.0.1 req.user-agent=N/A \
         res.status_code=200 duration_ms=0.41 error=a\\u{1b}[31m request_id=id \
         trace_id=4bf92f3577b34da6a3ce929d0e0e4736\n"
    );
}

/// A request that took 0.41 ms.
fn answered(error: Option<&str>) -> AccessLine<'_> {
    static CONTEXT: LazyLock<RequestContext> = LazyLock::new(|| {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_static("id"));
        let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        headers.insert(TRACEPARENT, HeaderValue::from_static(traceparent));
        RequestContext::new(
            actix_web::http::Method::GET,
            Uri::default(),
            &headers,
            [10, 0, 0, 1].into(),
        )
    });
    AccessLine {
        level: tracing::Level::INFO,
        context: &CONTEXT,
        scheme: "http",
        authority: "x",
        path: "/",
        user_agent: None,
        status: 200,
        duration: Duration::from_nanos(409_600),
        error,
    }
}

#[tokio::test]
async fn a_missing_user_agent_is_not_available() {
    let (app, _connection) =
        demo::send(&[], "GET /hello HTTP/1.1\r\nhost: x\r\nx-request-id: anonymous\r\n\r\n").await;

    assert_eq!(app.logs_of("anonymous").await[0]["req"]["user-agent"], "N/A");
}

#[tokio::test]
async fn probes_are_logged_at_debug_level_and_the_rest_at_info() {
    let app = demo::start(&[]);

    for (path, level) in
        [("/healthz", "DEBUG"), ("/readyz", "DEBUG"), ("/metrics", "DEBUG"), ("/nothing", "INFO")]
    {
        let id = format!("level{}", path.replace('/', "-"));
        app.request(Method::GET, path).header("x-request-id", &id).send().await.unwrap();
        assert_eq!(app.logs_of(&id).await[0]["level"], level, "{path}");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_is_logged_as_499() {
    let (app, connection) =
        demo::send(&[], "GET /gate HTTP/1.1\r\nhost: x\r\nx-request-id: gone\r\n\r\n").await;
    test_support::wait_until("it is active", Duration::from_secs(20), async || {
        app.metric("http_server_active_requests").await == Some(2.0)
    })
    .await;

    drop(connection);

    let line = app.logs_of("gone").await.pop().unwrap();
    assert_eq!(line["res"]["status_code"], 499);
}

#[tokio::test]
async fn a_stream_is_logged_when_it_ends_even_if_its_client_leaves() {
    let app = demo::start(&[]);
    let mut answer =
        app.request(Method::GET, "/stream").header("x-request-id", "streams").send().await.unwrap();
    answer.chunk().await.unwrap();
    assert!(test_support::logs(|line| line["request_id"] == "streams").is_empty());

    drop(answer);

    let line = app.logs_of("streams").await.pop().unwrap();
    assert_eq!(line["res"]["status_code"], 200);
    assert_eq!(line["error"], "the client went away");
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_logged_once_with_its_causes() {
    let app = demo::start(&[]);
    let id = "breaks-off";

    let answer = app.request(Method::GET, "/broken-stream").header("x-request-id", id).send().await;

    let received = async { answer?.bytes().await };
    assert!(received.await.is_err());
    let lines = app.logs_of(id).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["error"], "outer cause: inner cause");
    let others = test_support::logs(|line| {
        line["request_id"].is_null() && line.to_string().contains("inner cause")
    });
    assert_eq!(others, Vec::<Value>::new());
}

#[tokio::test]
async fn what_clients_send_cannot_break_a_line() {
    let app = demo::start(&[]);
    let mut connection = app.connect().await;
    let mut request =
        b"GET /hello?a={} HTTP/1.1\r\nhost: x\r\nx-request-id: hostile\r\nuser-agent: ".to_vec();
    request.extend_from_slice(b"\"}\\\t\x80\xff\r\n\r\n");

    connection.send(request).await;
    assert_eq!(connection.response().await.unwrap().status, 200);

    let line = &app.logs_of("hostile").await[0];
    assert_eq!(line["req"]["user-agent"], "\"}\\\t\u{fffd}\u{fffd}");
}

#[test]
fn what_no_filter_lets_pass_is_not_even_asked_for() {
    let logs = Captured::default();
    let _lines = subscriber(logs.lines(&demo::SERVICE), &LogFilter::everything(), None);

    assert_eq!(LevelFilter::current(), LevelFilter::DEBUG);
}

#[test]
fn any_value_is_a_json_string() {
    use proptest::prelude::*;
    let logs = Captured::default();
    let lines = subscriber(logs.lines(&demo::SERVICE), &LogFilter::everything(), None);

    tracing::dispatcher::with_default(&lines, || {
        proptest!(|(value in any::<String>())| {
            tracing::info!(value = value, "a value");
            let line = logs.text().lines().last().unwrap().to_owned();
            let line: Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(&line["value"], &value);
        });
    });
}
