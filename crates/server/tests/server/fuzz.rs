//! Whatever arrives on a connection, no answer is a 5xx and the service lives.
//!
//! `make fuzz` runs these with many more cases; `PROPTEST_CASES` says how many.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use test_support::App;

use crate::demo;

/// Pieces that requests are made of, right and wrong ones.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "GET ",
        "POST ",
        "HEAD ",
        "OPTIONS ",
        "BREW ",
        "/hello",
        "/items/7",
        "/echo",
        "/json",
        "/query",
        "?word=a",
        "?word=%",
        "&",
        "/docs/",
        "/docs/..%2f",
        "%00",
        "%ff",
        "//",
        "*",
        "http://x/hello",
        " HTTP/1.1",
        " HTTP/1.0",
        " HTTP/2.0",
        "\r\n",
        "\n",
        "\r",
        "host: x\r\n",
        "host:\r\n",
        "content-length: 3\r\n",
        "content-length: 99999999999999999999\r\n",
        "content-length: -1\r\n",
        "transfer-encoding: chunked\r\n",
        "transfer-encoding: identity\r\n",
        "3\r\nabc\r\n",
        "0\r\n\r\n",
        "fffffffffffffff\r\n",
        "expect: 100-continue\r\n",
        "connection: close\r\n",
        "upgrade: h2c\r\n",
        "content-type: application/json\r\n",
        "content-type: \"\r\n",
        "accept: ;q=9\r\n",
        "x-request-id: \r\n",
        "traceparent: 00-0-0-0\r\n",
        "x-forwarded-for: ,,,\r\n",
        "{\"word\":\"a\"}",
        "{",
        "\0",
    ]);
    prop_oneof![
        8 => known.prop_map(|piece| piece.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..40),
    ]
}

/// What is nearly a request, so that cases come past the parser of HTTP.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let head = (
        prop::sample::select(vec!["GET", "POST", "HEAD", "OPTIONS", "PUT"]),
        prop::sample::select(vec![
            "/hello",
            "/items/",
            "/echo",
            "/json",
            "/query?word=",
            "/docs/",
            "/",
        ]),
        "[!-~]{0,20}",
        vec(piece(), 0..4),
        vec(any::<u8>(), 0..60),
    );
    head.prop_map(|(method, path, more, headers, body)| {
        let mut request = format!("{method} {path}{more} HTTP/1.1\r\nhost: x\r\n").into_bytes();
        request.extend(headers.concat());
        request.extend(format!("content-length: {}\r\n\r\n", body.len()).into_bytes());
        request.extend(body);
        request
    })
}

async fn send(app: &App, bytes: &[u8]) -> String {
    let mut connection = app.connect().await;
    // The server may have had enough before all is sent.
    let _ = connection.try_send(bytes).await;
    let _ = connection.try_finish().await;
    connection.rest().await
}

fn check(cases: impl Strategy<Value = Vec<u8>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let app = runtime.block_on(async { demo::start(&[("REQUEST_TIMEOUT", "200ms")]) });
    let outcome = TestRunner::default().run(&cases, |bytes| {
        let said = runtime.block_on(send(&app, &bytes));
        let failures = said.lines().filter(|line| line.starts_with("HTTP/1.1 5")).count();
        prop_assert_eq!(failures, 0, "{}", said);
        Ok(())
    });
    outcome.unwrap();
    runtime.block_on(async { assert_eq!(app.get("/hello").await.status(), 200) });
}

#[test]
fn any_pieces_of_requests_are_survived() {
    check(vec(piece(), 0..12).prop_map(|pieces| pieces.concat()));
}

#[test]
fn any_near_request_is_survived() {
    check(request());
}
