//! The program: its command line, its log, its signals, its exit codes. All services share them;
//! here they are asked of a real process.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::Value;
use test_support::{Binary, RawConnection, RawResponse, Signal, wait_until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_sre-kata");
const TIMEOUT: Duration = Duration::from_secs(30);

fn serve(variables: &[(&str, &str)]) -> Binary {
    Binary::serve(PROGRAM, &[], variables)
}

/// Runs a command to its end: exit code, stdout, stderr.
async fn run(arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    Binary::run(PROGRAM, arguments, variables).await
}

async fn connect(binary: &Binary) -> RawConnection {
    RawConnection::open(binary.addr().await).await
}

async fn get(binary: &Binary, path: &str) -> RawResponse {
    let mut connection = connect(binary).await;
    connection.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await;
    connection.response().await.unwrap()
}

/// A request whose body is still on its way.
async fn begin_post(binary: &Binary) -> RawConnection {
    let mut connection = connect(binary).await;
    let head =
        "POST /query HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\ncontent-length: 7\r\n\r\n";
    connection.send(format!("{head}acx")).await;
    connection
}

async fn wait_for_active(binary: &Binary, requests: u32) {
    // The scrape itself is one.
    let sample = format!("http_server_active_requests {}\n", requests + 1);
    wait_until("the requests have been read", TIMEOUT, async || {
        get(binary, "/metrics").await.body.contains(&sample)
    })
    .await;
}

#[tokio::test]
async fn every_wrong_variable_is_named_in_one_run_and_no_value_is_shown() {
    let secretive = "hush-hush";
    let variables = [
        ("HOST", secretive),
        ("PORT", secretive),
        ("WORKERS", secretive),
        ("BODY_LIMIT", secretive),
        ("REQUEST_TIMEOUT", secretive),
        ("DRAIN_DELAY", secretive),
        ("SHUTDOWN_GRACE_PERIOD", secretive),
        ("LOG_LEVEL", secretive),
        ("LOG_FORMAT", secretive),
        ("LOG_DRI", secretive),
    ];

    let (code, stdout, stderr) = run(&[], &variables).await;

    assert_eq!(code, Some(78));
    assert_eq!(stdout, "");
    for (name, _) in variables {
        assert!(stderr.lines().any(|line| line.starts_with(&format!("{name}: "))), "{stderr}");
    }
    assert!(stderr.contains("did you mean LOG_DIR?"), "{stderr}");
    assert!(!stderr.contains(secretive), "{stderr}");
}

#[tokio::test]
async fn a_port_that_is_taken_ends_the_process_with_the_reason() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();

    let mut binary = serve(&[("PORT", &address.port().to_string())]);

    assert_eq!(binary.exit(TIMEOUT).await.code(), Some(1));
    let line = binary.logs().pop().unwrap();
    assert_eq!(line["message"], "Cannot start");
    let error = line["error"].as_str().unwrap();
    assert!(error.starts_with(&format!("cannot listen on {address}: ")), "{error}");
}

#[tokio::test]
async fn a_log_folder_that_cannot_be_written_ends_the_process_with_the_reason() {
    let mut binary = serve(&[("LOG_DIR", "/dev/null/logs")]);

    assert_eq!(binary.exit(TIMEOUT).await.code(), Some(1));
    let said = binary.error_lines().join("\n");
    assert!(said.contains("LOG_DIR: cannot write /dev/null/logs/sre-kata.log: "), "{said}");
}

#[tokio::test]
async fn the_commands_print_what_they_promise() {
    let (code, stdout, _) = run(&["--version"], &[("REVISION", "0123abc")]).await;
    assert_eq!(code, Some(0));
    assert_eq!(stdout, concat!("sre-kata ", env!("CARGO_PKG_VERSION"), " (0123abc)"));

    let (code, stdout, _) = run(&["--help"], &[]).await;
    assert_eq!(code, Some(0));
    for command in ["healthcheck", "openapi", "config"] {
        assert!(stdout.contains(command), "{stdout}");
    }

    let (code, stdout, _) = run(&["openapi"], &[("PORT", "not needed")]).await;
    assert_eq!(code, Some(0));
    let document: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(document["info"]["title"], "sre-kata");

    let (code, stdout, _) = run(&["config"], &[("BODY_LIMIT", "1MiB")]).await;
    assert_eq!(code, Some(0));
    for line in ["PORT=8003", "BODY_LIMIT=1048576", "REQUEST_TIMEOUT=10s", "LOG_FORMAT=json"] {
        assert!(stdout.lines().any(|printed| printed == line), "{stdout}");
    }

    let (code, _, stderr) = run(&["nonsense"], &[]).await;
    assert_eq!(code, Some(2));
    assert!(stderr.contains("nonsense"), "{stderr}");
}

#[tokio::test]
async fn a_healthcheck_asks_the_instance_or_a_url() {
    let binary = serve(&[]);
    let addr = binary.addr().await;
    let port = addr.port().to_string();

    assert_eq!(run(&["healthcheck"], &[("PORT", &port)]).await.0, Some(0));
    let ready = format!("http://{addr}/readyz");
    assert_eq!(run(&["healthcheck", &ready], &[]).await.0, Some(0));
    let missing = format!("http://{addr}/nothing");
    assert_eq!(run(&["healthcheck", &missing], &[]).await.0, Some(1));
    let nobody = test_support::free_port().to_string();
    let (code, _, stderr) = run(&["healthcheck"], &[("PORT", &nobody)]).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("refused"), "{stderr}");
}

#[tokio::test]
async fn sigterm_answers_the_body_that_is_on_its_way() {
    let mut binary = serve(&[]);
    let mut post = begin_post(&binary).await;
    wait_for_active(&binary, 1).await;

    binary.signal(Signal::TERM);
    binary.wait_for_message("Stopping").await;
    post.send("333x").await;

    let answer = post.response().await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.body.ends_with("in acx333x is 2!"), "{answer:?}");
    assert!(answer.head.contains("connection: close"), "{answer:?}");
    assert_eq!(binary.exit(TIMEOUT).await.code(), Some(0));
    // What was logged before the stop is written after it, and the stop last.
    let logs = binary.logs();
    assert!(logs.iter().any(|line| line["req"]["method"] == "POST"), "{logs:?}");
    assert_eq!(logs.last().unwrap()["message"], "Stopped");
}

#[tokio::test]
async fn sigterm_under_load_loses_no_request_that_was_read() {
    let mut binary = serve(&[]);
    let addr = binary.addr().await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..16 {
        clients.spawn(async move {
            let mut answered = 0_u32;
            let mut connection = RawConnection::open(addr).await;
            // Until the server says that it ends the connection, it owes an answer.
            loop {
                let request = "GET /query?param=acx333x HTTP/1.1\r\nhost: x\r\n\r\n";
                connection.send(request).await;
                let answer =
                    connection.response().await.expect("an answer to a request that was read");
                assert_eq!(answer.status, 200);
                answered += 1;
                if answer.head.contains("connection: close") {
                    return answered;
                }
            }
        });
    }
    wait_until("there is load", TIMEOUT, async || {
        let logs = binary.logs();
        logs.iter().filter(|line| line["req"]["url"].as_str().is_some()).count() > 200
    })
    .await;

    binary.signal(Signal::TERM);

    let answered: Vec<u32> = clients.join_all().await;
    assert_eq!(binary.exit(TIMEOUT).await.code(), Some(0));
    let logged = binary.logs().iter().filter(|line| line["res"]["status_code"] == 200).count();
    assert_eq!(u32::try_from(logged).unwrap(), answered.iter().sum::<u32>());
}

#[tokio::test]
async fn the_drain_delay_serves_on_while_readiness_is_off() {
    let mut binary = serve(&[("DRAIN_DELAY", "1m")]);
    binary.addr().await;

    binary.signal(Signal::TERM);
    binary.wait_for_message("Stopping").await;

    assert_eq!(get(&binary, "/readyz").await.status, 503);
    assert_eq!(get(&binary, "/healthz").await.status, 200);
    assert_eq!(get(&binary, "/query?param=aa").await.status, 200);
    // A second signal ends it at once.
    binary.signal(Signal::TERM);
    assert_eq!(binary.exit(TIMEOUT).await.code(), Some(1));
}

#[tokio::test]
async fn sigint_stops_without_the_delay() {
    let mut binary = serve(&[("DRAIN_DELAY", "1h")]);
    binary.addr().await;

    binary.signal(Signal::INT);

    assert_eq!(binary.exit(TIMEOUT).await.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_a_stop_that_waits() {
    let mut binary = serve(&[]);
    let _post = begin_post(&binary).await;
    wait_for_active(&binary, 1).await;

    binary.signal(Signal::INT);
    binary.wait_for_message("Stopping").await;
    binary.signal(Signal::INT);

    assert_eq!(binary.exit(TIMEOUT).await.code(), Some(1));
    binary.wait_for_message("A second signal: ending at once").await;
}

#[tokio::test]
async fn a_grace_period_that_runs_out_is_exit_code_1() {
    let mut binary = serve(&[("SHUTDOWN_GRACE_PERIOD", "200ms")]);
    let _post = begin_post(&binary).await;
    wait_for_active(&binary, 1).await;

    binary.signal(Signal::TERM);

    assert_eq!(binary.exit(TIMEOUT).await.code(), Some(1));
    let message = "The grace period ended before all requests were answered";
    assert_eq!(binary.wait_for_message(message).await["requests"], 1);
}

#[tokio::test]
async fn the_log_goes_to_a_folder_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs");
    let mut binary = serve(&[("LOG_DIR", path.to_str().unwrap())]);
    get(&binary, "/query?param=aa").await;

    binary.signal(Signal::TERM);
    binary.exit(TIMEOUT).await;

    let file = std::fs::read_to_string(path.join("sre-kata.log")).unwrap();
    assert_eq!(file.lines().collect::<Vec<_>>(), binary.lines());
}

#[tokio::test]
async fn the_log_level_is_heeded() {
    for (level, lines) in [("warn", 0), ("info,access_log=off", 0), ("info", 1), ("debug", 2)] {
        // The address is not logged at every level.
        let port = test_support::free_port();
        let mut binary = serve(&[("LOG_LEVEL", level), ("PORT", &port.to_string())]);
        wait_until("it listens", TIMEOUT, async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        for path in ["/healthz", "/query?param=aa"] {
            let mut connection = RawConnection::open(([127, 0, 0, 1], port).into()).await;
            connection.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
            assert_eq!(connection.response().await.unwrap().status, 200);
        }
        binary.signal(Signal::TERM);
        assert_eq!(binary.exit(TIMEOUT).await.code(), Some(0));

        let requests = binary.logs().iter().filter(|line| line["req"].is_object()).count();
        assert_eq!(requests, lines, "{level}: {:?}", binary.lines());
    }
}

#[tokio::test]
async fn the_limit_of_open_files_is_raised() {
    let binary = serve(&[]);

    let metrics = get(&binary, "/metrics").await.body;

    let limits =
        std::fs::read_to_string(format!("/proc/{}/limits", binary.pid().unwrap())).unwrap();
    let open_files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let limits: Vec<&str> = open_files.split_whitespace().skip(3).take(2).collect();
    assert_eq!(limits[0], limits[1], "{open_files}");
    assert!(metrics.contains(&format!("process_max_fds {}", limits[0])), "{metrics}");
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_no_request_and_no_stop() {
    let port = test_support::free_port();
    let mut process = std::process::Command::new(PROGRAM)
        .env_clear()
        .envs([("HOST", "127.0.0.1"), ("PORT", &port.to_string()), ("WORKERS", "1")])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let addr = ([127, 0, 0, 1], port).into();
    wait_until("it listens", TIMEOUT, async || tokio::net::TcpStream::connect(addr).await.is_ok())
        .await;
    let mut connection = RawConnection::open(addr).await;

    // Some 8 MiB of lines, more than the pipe and the buffer hold.
    let request = "GET /query?param=acx333x HTTP/1.1\r\nhost: x\r\n\r\n";
    for _ in 0..200 {
        connection.send(request.repeat(128)).await;
        for _ in 0..128 {
            assert_eq!(connection.response().await.unwrap().status, 200);
        }
    }

    connection.send("GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let metrics = connection.response().await.unwrap().body;
    let dropped = metrics.lines().find_map(|line| line.strip_prefix("log_lines_dropped_total "));
    assert!(dropped.unwrap().parse::<u32>().unwrap() > 0, "{metrics}");
    let pid = rustix::process::Pid::from_child(&process);
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    wait_until("it has stopped", TIMEOUT, async || process.try_wait().unwrap().is_some()).await;
    assert_eq!(process.wait().unwrap().code(), Some(0));
}

#[tokio::test]
async fn an_orderly_start_and_stop_logs_no_warning() {
    serve(&[]).start_and_stop_quietly().await;
}
