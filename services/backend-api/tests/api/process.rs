//! The program: its configuration, and the key that it keeps to itself.

use std::time::Duration;

use test_support::{Binary, RawConnection, RawResponse, Signal};

use crate::upstream::{Step, Upstream, empty, ok, send};
use crate::{DOWNLOAD, KEY};

const PROGRAM: &str = env!("CARGO_BIN_EXE_backend-api");
const TIMEOUT: Duration = Duration::from_secs(30);
const EXIT_CONFIG: Option<i32> = Some(78);

/// Runs a command to its end: exit code, stdout, stderr.
async fn run(arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    Binary::run(PROGRAM, arguments, variables).await
}

/// Serves until it is dropped.
fn serve(variables: &[(&str, &str)]) -> Binary {
    Binary::serve(PROGRAM, &[], variables)
}

async fn get(binary: &Binary, path: &str) -> RawResponse {
    let mut connection = RawConnection::open(binary.addr().await).await;
    connection.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
    connection.response().await.unwrap()
}

#[tokio::test]
async fn without_a_key_it_does_not_start() {
    for (variables, line) in [
        (vec![], "EXTERNAL_INTEGRATION_KEY: is required"),
        (vec![("EXTERNAL_INTEGRATION_KEY", "")], "EXTERNAL_INTEGRATION_KEY: is required"),
        (vec![("EXTERNAL_INTEGRATION_KEY", " \t\u{a0}\n")], "EXTERNAL_INTEGRATION_KEY: is blank"),
        (
            vec![("EXTERNAL_INTEGRATION_KEY_FILE", "/nowhere/key")],
            "EXTERNAL_INTEGRATION_KEY_FILE: the file cannot be read: entity not found",
        ),
    ] {
        let (code, stdout, stderr) = run(&[], &variables).await;

        assert_eq!(code, EXIT_CONFIG, "{variables:?}");
        assert_eq!(stdout, "");
        assert_eq!(stderr, format!("the configuration is not valid\n{line}"), "{variables:?}");
    }
}

#[tokio::test]
async fn the_original_misspelling_of_the_key_is_pointed_out() {
    let (code, _, stderr) = run(&[], &[("EXTERNAL_INTGERATION_KEY", KEY)]).await;

    assert_eq!(code, EXIT_CONFIG);
    assert_eq!(
        stderr,
        "the configuration is not valid\nEXTERNAL_INTEGRATION_KEY: is required\n\
         EXTERNAL_INTGERATION_KEY: is read by nothing; did you mean EXTERNAL_INTEGRATION_KEY?"
    );
}

#[tokio::test]
async fn a_key_that_no_header_can_carry_ends_the_process_and_is_not_shown() {
    for end in ["\rx: y", "\u{1}", "\u{7f}"] {
        let key = format!("{KEY}{end}");

        let (code, stdout, stderr) = run(&[], &[("EXTERNAL_INTEGRATION_KEY", &key)]).await;

        assert_eq!(code, EXIT_CONFIG, "{end:?}");
        assert_eq!(stdout, "");
        let line = "EXTERNAL_INTEGRATION_KEY: has characters that no HTTP header can carry";
        assert_eq!(stderr, format!("the configuration is not valid\n{line}"));
    }
}

#[tokio::test]
async fn the_key_can_be_given_as_a_file() {
    let upstream = Upstream::start(vec![ok("logs")]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, format!("{KEY}\n")).unwrap();
    let file = ("EXTERNAL_INTEGRATION_KEY_FILE", path.to_str().unwrap());

    let binary = serve(&[file, ("EXTERNAL_API_URL", &upstream.url("/"))]);
    assert_eq!(get(&binary, DOWNLOAD).await.body, "logs");
    let authorization = format!("authorization: bearer {KEY}\r\n");
    assert!(upstream.requests()[0].contains(&authorization));

    let (code, _, stderr) = run(&[], &[file, ("EXTERNAL_INTEGRATION_KEY", KEY)]).await;
    assert_eq!(code, EXIT_CONFIG);
    assert!(!stderr.contains(KEY), "{stderr}");
    std::fs::write(&path, " \n").unwrap();
    let (code, _, stderr) = run(&[], &[file]).await;
    assert_eq!(code, EXIT_CONFIG);
    assert!(stderr.ends_with("EXTERNAL_INTEGRATION_KEY: is blank"), "{stderr}");
}

#[tokio::test]
async fn every_wrong_variable_is_named_and_no_value_is_shown() {
    let credentials = "http://someone:s3cretive@host/";
    for url in [credentials, "http://s3cretive@host/", "ftp://s3cretive/", "s3cretive", "http://"] {
        let variables = [
            ("EXTERNAL_INTEGRATION_KEY", KEY),
            ("EXTERNAL_API_URL", url),
            ("EXTERNAL_API_TIMEOUT", "s3cretive"),
            ("EXTERNAL_API_RETRIES", "s3cretive"),
            ("OPERATION_DELAY", "s3cretive"),
        ];

        let (code, _, stderr) = run(&[], &variables).await;

        assert_eq!(code, EXIT_CONFIG);
        let line = "EXTERNAL_API_URL: must be an http or https URL without credentials\n";
        assert!(stderr.contains(line), "{stderr}");
        for name in ["EXTERNAL_API_TIMEOUT", "EXTERNAL_API_RETRIES", "OPERATION_DELAY"] {
            assert!(stderr.contains(&format!("\n{name}: ")), "{stderr}");
        }
        for value in [KEY, "s3cretive"] {
            assert!(!stderr.contains(value), "{stderr}");
        }
    }
    for timeout in ["0s", "2h"] {
        let variables = [("EXTERNAL_INTEGRATION_KEY", KEY), ("EXTERNAL_API_TIMEOUT", timeout)];
        let (code, _, stderr) = run(&[], &variables).await;
        assert_eq!(code, EXIT_CONFIG);
        assert!(stderr.ends_with("EXTERNAL_API_TIMEOUT: must be from 1ms to 1h"), "{stderr}");
    }
}

#[tokio::test]
async fn the_configuration_is_printed_with_the_key_masked() {
    let url = "https://logs.example/download?since=1";
    let variables = [("EXTERNAL_INTEGRATION_KEY", KEY), ("EXTERNAL_API_URL", url)];

    let (code, stdout, _) = run(&["config"], &variables).await;

    assert_eq!(code, Some(0));
    for line in [
        "PORT=5000",
        "OPERATION_DELAY=500ms",
        "EXTERNAL_INTEGRATION_KEY=********",
        "EXTERNAL_API_URL=https://logs.example/download?since=1",
        "EXTERNAL_API_TIMEOUT=10s",
        "EXTERNAL_API_RETRIES=2",
    ] {
        assert!(stdout.lines().any(|printed| printed == line), "{stdout}");
    }
    assert!(!stdout.contains(KEY), "{stdout}");
}

#[tokio::test]
async fn the_key_is_in_no_line_of_any_level() {
    let other = Upstream::start(vec![ok("logs")]).await;
    let location = format!("location: {}\r\n", other.url("/"));
    let upstream = Upstream::start(vec![
        ok("logs"),
        empty("401 No", ""),
        empty("302 There", &location),
        vec![Step::Reset],
        vec![send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")],
    ])
    .await;
    let mut binary = serve(&[
        ("EXTERNAL_INTEGRATION_KEY", KEY),
        ("EXTERNAL_API_URL", &upstream.url("/")),
        ("LOG_LEVEL", "trace"),
    ]);

    let mut said = String::new();
    for status in [200, 502, 502, 200] {
        let answer = get(&binary, DOWNLOAD).await;
        assert_eq!(answer.status, status);
        said.push_str(&answer.head);
        said.push_str(&answer.body);
    }
    said.push_str(&get(&binary, "/metrics").await.body);
    binary.signal(Signal::TERM);
    assert_eq!(binary.exit(TIMEOUT).await.code(), Some(0));

    said.push_str(&binary.lines().join("\n"));
    said.push_str(&binary.error_lines().join("\n"));
    assert!(said.contains("hyper"), "the client's own lines are among them");
    assert!(!said.contains(KEY), "{said}");
    assert_eq!(upstream.requests().len(), 5);
}

#[tokio::test]
async fn certificates_are_needed_for_https_alone() {
    let upstream = Upstream::start(vec![ok("logs")]).await;
    let no_certificates = [
        ("EXTERNAL_INTEGRATION_KEY", KEY),
        ("SSL_CERT_FILE", "/nowhere/file"),
        ("SSL_CERT_DIR", "/nowhere/folder"),
    ];
    let with_url =
        |url: &'static str| [&no_certificates[..], &[("EXTERNAL_API_URL", url)]].concat();

    let url = upstream.url("/").leak();
    let binary = serve(&with_url(url));
    assert_eq!(get(&binary, DOWNLOAD).await.body, "logs");

    // Elsewhere the certificates are not files.
    if cfg!(target_os = "linux") {
        let mut binary = serve(&with_url("https://localhost/"));
        assert_eq!(binary.exit(TIMEOUT).await.code(), Some(1));
        let line = binary.logs().pop().unwrap();
        assert_eq!(line["message"], "Cannot start");
        let error = line["error"].as_str().unwrap();
        assert!(error.contains("No CA certificates"), "{error}");
    }
}

#[tokio::test]
async fn a_proxy_of_the_environment_is_not_used() {
    let (upstream, proxy) =
        (Upstream::start(vec![ok("logs")]).await, Upstream::start(vec![ok("intercepted")]).await);
    let proxy_url = proxy.url("/");

    let binary = serve(&[
        ("EXTERNAL_INTEGRATION_KEY", KEY),
        ("EXTERNAL_API_URL", &upstream.url("/")),
        ("HTTP_PROXY", &proxy_url),
        ("http_proxy", &proxy_url),
        ("ALL_PROXY", &proxy_url),
    ]);

    assert_eq!(get(&binary, DOWNLOAD).await.body, "logs");
    assert_eq!(proxy.accepted(), 0);
}

#[tokio::test]
async fn a_stop_waits_for_an_operation() {
    let mut binary = serve(&[("EXTERNAL_INTEGRATION_KEY", KEY), ("OPERATION_DELAY", "700ms")]);
    let mut connection = RawConnection::open(binary.addr().await).await;
    connection.send("GET /api_1 HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let begun = |line: &serde_json::Value| {
        let message = line["message"].as_str()?;
        message.starts_with("Operation log: ").then_some(())
    };
    binary.wait_for_log("the operation", TIMEOUT, begun).await;

    binary.signal(Signal::TERM);

    assert_eq!(connection.response().await.unwrap().status, 200);
    assert_eq!(binary.exit(TIMEOUT).await.code(), Some(0));
}

#[tokio::test]
async fn an_orderly_start_and_stop_logs_no_warning() {
    serve(&[("EXTERNAL_INTEGRATION_KEY", KEY)]).start_and_stop_quietly().await;
}
