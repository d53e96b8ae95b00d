//! `GET /`: the work that leaves a log file.

use std::collections::HashSet;

use test_support::logs;

use crate::{Service, names_in};

const MESSAGES: [&str; 4] =
    ["Processing request...", "Executing task...", "Preparing data...", "Performing operation..."];

#[tokio::test]
async fn the_message_is_answered_written_and_logged() {
    let service = Service::start(&[]).await;

    let answer = service.app.get("/").await;

    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let text = answer.text().await.unwrap();
    let message = text.strip_prefix("Log: ").unwrap();
    assert!(MESSAGES.contains(&message), "{text}");
    let names = names_in(&service.logs());
    assert_eq!(names.len(), 1, "{names:?}");
    let (seconds, decimals) = names[0]
        .strip_prefix("log_")
        .unwrap()
        .strip_suffix(".txt")
        .unwrap()
        .split_once('.')
        .unwrap();
    assert!(seconds.parse::<u64>().unwrap() > 1_700_000_000, "{names:?}");
    assert_eq!(decimals.len(), 9, "{names:?}");
    let content = std::fs::read_to_string(service.logs().join(&names[0])).unwrap();
    assert_eq!(content, format!("{message}\n"));
    let line = logs(|line| line["request_id"] == *id && line["message"] == *text);
    assert_eq!(line.len(), 1, "{text}");
    assert_eq!(line[0]["log_file"]["name"], *names[0]);
}

#[tokio::test]
async fn every_request_has_a_file_of_its_own_and_all_messages_come() {
    let service = Service::start(&[]).await;

    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..200 {
        // By one client: two hundred of them take longer to make than a connection may be silent.
        let request = service.app.request(reqwest::Method::GET, "/");
        requests.spawn(async move { request.send().await.unwrap().text().await.unwrap() });
    }
    let mut answered: Vec<String> = requests.join_all().await;

    let names = names_in(&service.logs());
    assert_eq!(names.len(), 200);
    let read = |name: &String| std::fs::read_to_string(service.logs().join(name)).unwrap();
    let mut written: Vec<String> =
        names.iter().map(|name| format!("Log: {}", read(name).trim_end())).collect();
    written.sort();
    answered.sort();
    assert_eq!(written, answered);
    // The odds that one of four is missing in 200 are 4 · 0.75^200, less than 10^-24.
    assert_eq!(answered.iter().collect::<HashSet<_>>().len(), MESSAGES.len());
    assert_eq!(service.app.metric("data_api_log_files_written_total").await, Some(200.0));
    let batches = service.app.metric("data_api_write_batch_files_count").await.unwrap();
    assert!(batches < 200.0, "{batches} batches: many requests share one");
}

#[tokio::test]
async fn the_answer_comes_after_the_delay_and_a_client_that_left_has_no_file() {
    let service = Service::start(&[("PROCESSING_DELAY", "300ms")]).await;
    let started = std::time::Instant::now();
    let mut gone = service.app.connect().await;
    gone.send("GET / HTTP/1.1\r\nhost: x\r\nx-request-id: left-early\r\n\r\n").await;
    drop(gone);

    let answer = service.app.get("/").await;

    assert_eq!(answer.status(), 200);
    assert!(started.elapsed().as_millis() >= 300);
    let line = service.app.logs_of("left-early").await.pop().unwrap();
    assert_eq!(line["res"]["status_code"], 499);
    assert_eq!(names_in(&service.logs()).len(), 1);
}

#[tokio::test]
async fn the_original_health_check_answers() {
    let service = Service::start(&[]).await;

    service.app.expect_text("/health_check", "healthy").await;
}
