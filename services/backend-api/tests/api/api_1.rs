//! Every line of `/api_1` and `/health_check`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use reqwest::Method;
use test_support::RawConnection;

use crate::start;

#[tokio::test]
async fn an_operation_ends_in_one_of_three_ways_and_is_logged() {
    let app = start(&[("OPERATION_DELAY", "0s")]);
    let mut ends = BTreeMap::new();

    for number in 0..100 {
        let id = format!("operation-{number}");
        let request = app.request(Method::GET, "/api_1").header("x-request-id", &id);
        let answer = request.send().await.unwrap();

        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
        let text = answer.text().await.unwrap();
        let word = text.strip_prefix("completed: ").unwrap().to_owned();
        let lines = app.logs_of(&id).await;
        assert_eq!(lines[0]["message"], format!("Operation log: {word}"));
        assert_eq!(lines[0]["level"], "INFO");
        *ends.entry(word).or_insert(0) += 1;
    }

    // One of them is missing once in a hundred thousand million million runs.
    let words: Vec<&str> = ends.keys().map(String::as_str).collect();
    assert_eq!(words, ["Created", "Failed", "Success"]);
}

#[tokio::test]
async fn the_log_line_comes_before_the_wait() {
    let app = start(&[("OPERATION_DELAY", "1h")]);
    let mut connection = app.connect().await;

    connection.send("GET /api_1 HTTP/1.1\r\nhost: x\r\nx-request-id: waits\r\n\r\n").await;

    let lines = app.logs_of("waits").await;
    let message = lines[0]["message"].as_str().unwrap();
    assert!(message.starts_with("Operation log: "), "{message}");
}

#[tokio::test]
async fn an_operation_takes_its_time() {
    let app = start(&[]);
    let started = Instant::now();

    app.get("/api_1").await;

    assert!(started.elapsed() >= Duration::from_millis(500));
}

#[tokio::test]
async fn waiting_requests_hold_up_nobody() {
    let app = start(&[("OPERATION_DELAY", "300ms")]);
    let mut connections = Vec::new();
    for _ in 0..500 {
        connections.push(app.connect().await);
    }

    for connection in &mut connections {
        connection.send("GET /api_1 HTTP/1.1\r\nhost: x\r\n\r\n").await;
    }

    // There is one worker: one after the other they would take two minutes and a half, five times as
    // long as each of these waits.
    for connection in &mut connections {
        let answer: &mut RawConnection = connection;
        assert_eq!(answer.response().await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn the_original_health_check_answers() {
    let app = start(&[]);

    for path in ["/health_check", "/health_check/"] {
        app.expect_text(path, "healthy").await;
    }
}

#[tokio::test]
async fn other_methods_are_refused() {
    let app = start(&[]);

    for path in ["/api_1", "/download_external_logs", "/health_check"] {
        let answer = app.request(Method::POST, path).send().await.unwrap();
        assert_eq!(answer.status(), 405, "{path}");
        assert_eq!(answer.headers()["allow"], "GET, HEAD, OPTIONS", "{path}");
    }
}
