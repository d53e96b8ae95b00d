//! The program: its configuration, and what a `kill -9` leaves.

use std::collections::HashSet;
use std::path::Path;

use test_support::{Binary, RawConnection, Signal, wait_until};

use crate::{TIMEOUT, names_in};

const PROGRAM: &str = env!("CARGO_BIN_EXE_data-api");

fn serve(logs: &Path, variables: &[(&str, &str)]) -> Binary {
    let own = [("PROCESSING_DELAY", "0s"), ("LOG_FILES_DIR", logs.to_str().unwrap())];
    Binary::serve(PROGRAM, &[], &[&own[..], variables].concat())
}

#[tokio::test]
async fn wrong_variables_are_named_and_the_key_is_shown_nowhere() {
    let variables =
        [("PROCESSING_DELAY", "hush"), ("LOG_RETENTION_FILES", "0"), ("LOGS_API_KEY", "hush hush")];

    let said = Binary::refuse(PROGRAM, &variables).await;

    assert!(!said.contains("hush"), "{said}");

    let printed = Binary::config(PROGRAM, &[("LOGS_API_KEY", "hush-hush")]).await;
    for line in ["PORT=5000", "PROCESSING_DELAY=3s", "LOG_FILES_DIR=/var/data/logs"] {
        assert!(printed.contains(&line.to_owned()), "{printed:?}");
    }
    assert!(printed.contains(&"LOGS_API_KEY=********".to_owned()), "{printed:?}");
}

#[tokio::test]
async fn kill_9_while_writing_leaves_no_half_file_and_loses_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    let mut answered = 0;
    for round in 0..5 {
        let mut binary = serve(&logs, &[]);
        let addr = binary.addr().await;
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..16 {
            clients.spawn(async move {
                let mut connection = RawConnection::open(addr).await;
                let mut answers = 0_usize;
                // Until the process is gone in the middle of something.
                while connection.try_send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.is_ok() {
                    match connection.response().await {
                        Some(answer) if answer.status == 200 => answers += 1,
                        Some(answer) => panic!("{answer:?}"),
                        None => break,
                    }
                }
                answers
            });
        }
        let wanted = names_in_or_none(&logs) + 100;
        wait_until("files are written", TIMEOUT, async || names_in_or_none(&logs) > wanted).await;

        binary.signal(Signal::KILL);
        binary.exit(TIMEOUT).await;

        answered += clients.join_all().await.iter().sum::<usize>();
        let names = names_in(&logs);
        let files: Vec<&String> = names.iter().filter(|name| name.starts_with("log_")).collect();
        assert!(files.len() >= answered, "round {round}: {} of {answered}", files.len());
        let contents: HashSet<String> =
            files.iter().map(|name| std::fs::read_to_string(logs.join(name)).unwrap()).collect();
        assert!(
            contents.len() <= 4 && contents.iter().all(|text| text.ends_with("...\n")),
            "{contents:?}"
        );
    }
    // A later start finds them all.
    let binary = serve(&logs, &[]);
    let listed = format!(
        "\"found\":{}",
        names_in(&logs).iter().filter(|name| name.starts_with("log_")).count()
    );
    binary
        .wait_for_log("all are found", TIMEOUT, |line| {
            line.to_string().contains(&listed).then_some(())
        })
        .await;
}

fn names_in_or_none(logs: &Path) -> usize {
    if logs.exists() { names_in(logs).len() } else { 0 }
}

#[tokio::test]
async fn sigterm_lets_the_work_be_finished() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    let mut binary = serve(&logs, &[("PROCESSING_DELAY", "500ms")]);
    let addr = binary.addr().await;
    let mut connection = RawConnection::open(addr).await;
    connection.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    wait_until("the request was read", TIMEOUT, async || {
        let mut metrics = RawConnection::open(addr).await;
        metrics.send("GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
        metrics.response().await.unwrap().body.contains("http_server_active_requests 2\n")
    })
    .await;

    binary.signal(Signal::TERM);

    assert_eq!(connection.response().await.unwrap().status, 200);
    assert_eq!(binary.exit(TIMEOUT).await.code(), Some(0));
    assert_eq!(names_in(&logs).len(), 1);
}

#[tokio::test]
async fn an_orderly_start_and_stop_logs_no_warning() {
    let folder = tempfile::tempdir().unwrap();
    serve(&folder.path().join("logs"), &[]).start_and_stop_quietly().await;
}

#[tokio::test]
async fn a_directory_belongs_to_one_process_until_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    let first = serve(&logs, &[]);
    ready_is(&first, true).await;

    let second = serve(&logs, &[]);

    second
        .wait_for_log("the reason", TIMEOUT, |line| {
            (line["error"] == "another process has the log volume").then_some(())
        })
        .await;
    ready_is(&second, false).await;
    let mut refused = RawConnection::open(second.addr().await).await;
    refused.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(refused.response().await.unwrap().status, 503);
    ready_is(&first, true).await;
    // However it ends.
    first.signal(Signal::KILL);
    ready_is(&second, true).await;
    refused.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(refused.response().await.unwrap().status, 200);
}

async fn ready_is(binary: &Binary, ready: bool) {
    let addr = binary.addr().await;
    wait_until(&format!("ready is {ready}"), TIMEOUT, async || {
        let mut connection = RawConnection::open(addr).await;
        connection.send("GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n").await;
        (connection.response().await.unwrap().status == 200) == ready
    })
    .await;
}
