//! Every line of `/download_external_logs`, as long as the external service works.

use std::sync::Arc;

use reqwest::Method;
use tokio::sync::Semaphore;

use crate::upstream::{Step, Upstream, empty, ok, send};
use crate::{DOWNLOAD, KEY, start, start_with};

#[tokio::test]
async fn without_an_external_service_a_sentence_says_that_the_key_is_set() {
    let app = start(&[]);

    for path in [DOWNLOAD, "/download_external_logs/"] {
        let answer = app.get(path).await;

        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
        assert_eq!(
            answer.text().await.unwrap(),
            "download_external_logs works! EXTERNAL_INTEGRATION_API_KEY is set"
        );
    }
}

#[tokio::test]
async fn the_external_service_gets_the_key_the_trace_and_the_request_id() {
    let upstream = Upstream::start(vec![ok("logs")]).await;
    let url = upstream.url("/logs/download?since=2020-01-01T00:00:00Z");
    let app = start(&[("EXTERNAL_API_URL", &url)]);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";

    let request = app
        .request(Method::GET, "/download_external_logs?mine=1")
        .header("x-request-id", "handed-on")
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
        .header("cookie", "session=clients-own")
        .header("authorization", "Bearer clients-own");
    let answer = request.send().await.unwrap();

    assert_eq!(answer.text().await.unwrap(), "logs");
    let requests = upstream.requests();
    let mut lines = requests[0].lines();
    assert_eq!(lines.next(), Some("get /logs/download?since=2020-01-01t00:00:00z http/1.1"));
    let mut headers: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(": ")).collect();
    headers.sort_unstable();
    let traceparent = headers.iter().find(|(name, _)| *name == "traceparent");
    let traceparent = traceparent.unwrap().1;
    let span = traceparent
        .strip_prefix(&format!("00-{trace}-"))
        .and_then(|rest| rest.strip_suffix("-01"))
        .unwrap();
    assert_eq!(span.len(), 16);
    assert_ne!(span, "00f067aa0ba902b7");
    let host = upstream.addr().to_string();
    // Nothing of the client's, and no wish for a compression that the client may not have.
    assert_eq!(
        headers,
        [
            ("accept", "*/*"),
            ("authorization", &format!("Bearer {KEY}").to_lowercase()),
            ("host", &host),
            ("traceparent", traceparent),
            ("user-agent", concat!("backend-api/", env!("CARGO_PKG_VERSION"))),
            ("x-request-id", "handed-on"),
        ]
    );
}

#[tokio::test]
async fn an_answer_is_handed_through_as_it_arrives() {
    let upstream = Upstream::start(vec![vec![
        send(
            "HTTP/1.1 203 Whatever\r\nContent-Type: application/x-ndjson\r\n\
             Content-Disposition: attachment; filename=\"l\u{f6}gs\"\r\n\
             Content-Encoding: br\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\
             Set-Cookie: a=b\r\nServer: secretive\r\nETag: \"1\"\r\n\r\nnot gzip!",
        ),
        Step::NextRequest,
    ]])
    .await;
    let app = start_with(&upstream, &[]);
    let mut connection = app.connect().await;

    connection
        .send(format!(
            "GET {DOWNLOAD} HTTP/1.1\r\nhost: x\r\naccept-encoding: gzip\r\nconnection: close\r\n\r\n"
        ))
        .await;

    let all = connection.rest().await;
    let (head, body) = all.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "not gzip!");
    let mut lines: Vec<&str> = head.lines().collect();
    assert!(lines.remove(0).starts_with("HTTP/1.1 203 "), "{head}");
    lines.sort_unstable();
    lines.retain(|line| !line.starts_with("date: ") && !line.starts_with("x-request-id: "));
    assert_eq!(
        lines,
        [
            "connection: close",
            "content-disposition: attachment; filename=\"l\u{f6}gs\"",
            "content-encoding: br",
            "content-encoding: gzip",
            "content-length: 9",
            "content-security-policy: default-src 'none'; frame-ancestors 'none'",
            "content-type: application/x-ndjson",
            "x-content-type-options: nosniff",
        ]
    );
}

#[tokio::test]
async fn a_body_of_unknown_length_is_handed_through_in_chunks() {
    let chunked = "transfer-encoding: chunked\r\n\r\n4\r\nsome\r\n5\r\n more\r\n0\r\n\r\n";
    for (rest, close) in [(chunked, false), ("\r\nsome more", true)] {
        let end = if close { vec![] } else { vec![Step::NextRequest] };
        let answer = send(format!("HTTP/1.1 200 OK\r\n{rest}"));
        let upstream = Upstream::start(vec![[vec![answer], end].concat()]).await;
        let app = start_with(&upstream, &[]);

        let answer = app.get(DOWNLOAD).await;

        assert_eq!(answer.headers()["transfer-encoding"], "chunked");
        assert!(!answer.headers().contains_key("content-length"));
        assert!(!answer.headers().contains_key("content-type"));
        assert_eq!(answer.text().await.unwrap(), "some more");
    }
}

#[tokio::test]
async fn an_answer_without_a_body_leaves_the_connection_usable() {
    let no_content = vec![send("HTTP/1.1 204 No Content\r\n\r\n"), Step::NextRequest];
    let scripts = vec![
        no_content,
        empty("205 Reset Content", ""),
        empty("200 OK", "content-type: text/csv\r\n"),
        ok("logs"),
    ];
    let upstream = Upstream::start(scripts).await;
    let app = start_with(&upstream, &[]);
    let mut connection = app.connect().await;

    for (status, body) in [(204, ""), (205, ""), (200, ""), (200, "logs")] {
        connection.send(format!("GET {DOWNLOAD} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        let answer = connection.response().await.unwrap();
        assert_eq!((answer.status, &*answer.body), (status, body));
        assert_eq!(answer.head.contains("content-length"), status != 204);
    }

    let complete = "backend_api_external_requests_total{outcome=\"complete\"}";
    test_support::wait_until("all are counted", crate::upstream::TIMEOUT, async || {
        app.metric(complete).await == Some(4.0)
    })
    .await;
    // One connection served them all.
    assert_eq!(upstream.accepted(), 1);
}

#[tokio::test]
async fn head_gives_the_head_and_ends_the_call() {
    let endless = Step::SendBlocks { times: u64::MAX, chunked: false };
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/csv\r\ncontent-length: 99999999999\r\n\r\n";
    let upstream = Upstream::start(vec![vec![send(head), endless]]).await;
    let app = start_with(&upstream, &[]);

    let answer = app.request(Method::HEAD, DOWNLOAD).send().await.unwrap();

    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/csv");
    assert_eq!(answer.headers()["content-length"], "99999999999");
    upstream.wait_until_left().await;
}

#[tokio::test]
async fn what_has_come_is_handed_on_while_the_rest_is_awaited() {
    let gate = Arc::new(Semaphore::new(0));
    let upstream = Upstream::start(vec![vec![
        send("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n"),
        Step::Await(Arc::clone(&gate)),
        send("some"),
        Step::Await(Arc::clone(&gate)),
        send("more"),
    ]])
    .await;
    let app = start_with(&upstream, &[]);

    let mut answer = app.get(DOWNLOAD).await;
    assert_eq!(answer.status(), 200);
    gate.add_permits(1);
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "some");
    gate.add_permits(1);
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "more");
    assert_eq!(answer.chunk().await.unwrap(), None);
}

#[tokio::test]
async fn the_external_service_sends_as_fast_as_the_client_takes() {
    const LENGTH: u64 = 128 * 1024 * 1024;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n");
    let blocks = Step::SendBlocks { times: LENGTH / (64 * 1024), chunked: false };
    let upstream = Upstream::start(vec![vec![send(head), blocks]]).await;
    let app = start_with(&upstream, &[]);

    let mut answer = app.get(DOWNLOAD).await;
    upstream.wait_until_blocked().await;
    // What the buffers of four sockets hold, and little of our own.
    assert!(upstream.sent() < LENGTH / 2, "{}", upstream.sent());
    let mut received = 0;
    while let Some(chunk) = answer.chunk().await.unwrap() {
        received += chunk.len() as u64;
    }

    assert_eq!(received, LENGTH);
    #[expect(clippy::cast_precision_loss, reason = "a power of two")]
    let expected = Some(LENGTH as f64);
    let passed = app.metric("backend_api_external_response_bytes_total");
    assert_eq!(passed.await, expected);
}
