//! Ids, headers, methods, paths, and the form of errors.

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;
use test_support::App;

use crate::demo;

/// A server, and the headers and the problem of its answer to a GET.
async fn ask_for_problem(path: &str, status: u16) -> (App, HeaderMap, Value) {
    let app = demo::start(&[]);
    let answer = app.get(path).await;
    assert_eq!(answer.status(), status);
    let headers = answer.headers().clone();
    assert_eq!(headers["content-type"], "application/problem+json");
    (app, headers, answer.json().await.unwrap())
}

#[tokio::test]
async fn every_answer_has_the_common_headers() {
    let app = demo::start(&[]);

    for path in ["/hello", "/nothing", "/panic", "/items/x", "/healthz", "/metrics"] {
        let answer = app.get(path).await;
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap());

        assert_eq!(header("x-content-type-options"), Some("nosniff"), "{path}");
        let policy = header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'"), "{path}: {policy}");
        assert!(header("x-request-id").is_some_and(|id| id.len() == 32), "{path}");
        assert_eq!(header("server"), None, "{path}");
    }
}

#[tokio::test]
async fn a_request_id_is_returned_and_a_bad_one_replaced() {
    let app = demo::start(&[]);
    let ask = async |id: &str| {
        let answer = app.request(Method::GET, "/hello").header("x-request-id", id).send().await;
        answer.unwrap().headers()["x-request-id"].to_str().unwrap().to_owned()
    };

    assert_eq!(ask("my-id/1").await, "my-id/1");
    assert_ne!(ask(&"x".repeat(129)).await, "x".repeat(129));
    assert_ne!(ask("a b").await, "a b");
    assert_ne!(ask("").await, "");
}

#[tokio::test]
async fn an_unknown_path_is_a_404_problem() {
    let (_app, headers, problem) = ask_for_problem("/nothing", 404).await;

    assert_eq!(problem["type"], "about:blank");
    assert_eq!(problem["title"], "Not Found");
    assert_eq!(problem["status"], 404);
    assert_eq!(problem["request_id"], *headers["x-request-id"].to_str().unwrap());
}

#[tokio::test]
async fn a_wrong_method_is_a_405_that_names_the_right_ones() {
    let app = demo::start(&[]);

    for (path, method, allow) in [
        ("/hello", Method::DELETE, "GET, HEAD, OPTIONS"),
        ("/hello", Method::from_bytes(b"BREW").unwrap(), "GET, HEAD, OPTIONS"),
        ("/gate", Method::PUT, "GET, HEAD, POST, OPTIONS"),
        ("/echo", Method::HEAD, "POST, OPTIONS"),
        ("/items/7", Method::POST, "GET, HEAD, OPTIONS"),
        ("/healthz", Method::POST, "GET, HEAD, OPTIONS"),
        ("/docs/start.js", Method::POST, "GET, HEAD, OPTIONS"),
    ] {
        let answer = app.request(method.clone(), path).send().await.unwrap();

        assert_eq!(answer.status(), 405, "{method} {path}");
        assert_eq!(answer.headers()["allow"], allow, "{method} {path}");
    }
}

#[tokio::test]
async fn options_lists_the_methods() {
    let app = demo::start(&[]);

    let answer = app.request(Method::OPTIONS, "/gate").send().await.unwrap();

    assert_eq!(answer.status(), 204);
    assert_eq!(answer.headers()["allow"], "GET, HEAD, POST, OPTIONS");
    let unknown = app.request(Method::OPTIONS, "/nothing").send().await.unwrap();
    assert_eq!(unknown.status(), 404);
}

#[tokio::test]
async fn options_of_the_whole_server_lists_all_methods() {
    let (_app, mut connection) = demo::send(&[], "OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let answer = connection.response().await.unwrap();
    connection.send("GET * HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let other = connection.response().await.unwrap();

    assert_eq!(answer.status, 204);
    assert!(answer.head.contains("allow: get, head, options, post\r\n"), "{answer:?}");
    assert!((400..500).contains(&other.status), "{other:?}");
}

/// Expects HEAD to be answered with this header and without a body.
async fn expect_bare_head(path: &str, header: &str) {
    let head = format!("HEAD {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let (_app, mut connection) = demo::send(&[], &head).await;
    let all = connection.rest().await;

    assert!(all.starts_with("HTTP/1.1 200 OK\r\n"), "{all}");
    assert!(all.contains(&format!("{header}\r\n")), "{all}");
    assert!(all.ends_with("\r\n\r\n"), "{all}");
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    expect_bare_head("/hello", "content-length: 5").await;
}

#[tokio::test]
async fn head_reads_nothing_of_a_stream() {
    expect_bare_head("/stream", "transfer-encoding: chunked").await;
}

#[tokio::test]
async fn paths_work_with_a_trailing_slash() {
    let app = demo::start(&[]);

    for path in ["/hello/", "/hello//", "/items/7/", "/healthz/", "/docs/", "/query/?word=a"] {
        assert_eq!(app.get(path).await.status(), 200, "{path}");
    }
    assert_eq!(app.get("//").await.status(), 404);
}

#[tokio::test]
async fn an_error_of_the_framework_is_a_problem_too() {
    let (_app, _, problem) = ask_for_problem("/items/seven", 404).await;

    assert!(!problem.to_string().contains("seven"), "{problem}");
}

#[tokio::test]
async fn an_internal_cause_goes_to_the_log_and_not_to_the_client() {
    let (app, headers, problem) = ask_for_problem("/failure", 503).await;

    assert_eq!(headers["retry-after"], "2");
    assert_eq!(problem["code"], 503);
    assert!(!problem.to_string().contains("cause"), "{problem}");
    let lines = app.logs_of(headers["x-request-id"].to_str().unwrap()).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["error"], "outer cause: inner cause");
    assert_eq!(lines[0]["level"], "ERROR");
}

#[tokio::test]
async fn a_panic_is_a_500_and_the_next_request_is_answered() {
    // In the handler's future, and before there is one.
    for path in ["/panic", "/guard-panic"] {
        let app = demo::start(&[]);

        let mut connection = app.connect().await;
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nx-request-id: panics\r\n\r\n");
        connection.send(&head).await;
        let answer = connection.response().await.unwrap();

        assert_eq!(answer.status, 500);
        assert!(answer.head.contains("x-request-id: panics\r\n"), "{answer:?}");
        assert!(!answer.body.contains("reason"), "{answer:?}");
        let access = app.logs_of("panics").await.pop().unwrap();
        assert_eq!(access["error"], "panic: the reason is for the log alone");
        // The same connection goes on.
        connection.send("GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert_eq!(connection.response().await.unwrap().body, "hello");
        assert_eq!(app.metric("http_server_panics_total").await, Some(1.0));
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let text = "GET /items/1 HTTP/1.1\r\nhost: x\r\n\r\n\
        POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc\
        GET /items/3 HTTP/1.1\r\nhost: x\r\n\r\n";
    let (_app, mut connection) = demo::send(&[], text).await;

    for expected in ["1", "abc", "3"] {
        assert_eq!(connection.response().await.unwrap().body, expected);
    }
}

#[tokio::test]
async fn what_is_no_http_gets_a_bare_4xx_and_the_end() {
    let app = demo::start(&[]);

    for bytes in [
        "\0\0\0\0\r\n\r\n",
        "GET / HTTP/1.1\r\nbad header\r\n\r\n",
        "GET /hello HTTP/1.1\r\nhost: x\r\nx: a\rb\r\n\r\n",
        "GET /hello HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n",
        "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
    ] {
        let mut connection = app.connect().await;
        connection.send(bytes).await;

        let answer = connection.response().await.unwrap_or_default();

        assert!((400..500).contains(&answer.status), "{bytes:?}: {answer:?}");
        assert_eq!(connection.rest().await, "", "{bytes:?}");
    }
    assert_eq!(app.get("/hello").await.status(), 200);
}

#[tokio::test]
async fn an_endless_head_is_refused() {
    let (app, mut connection) = demo::send(&[], "GET /hello HTTP/1.1\r\nhost: x\r\n").await;
    let line = format!("x: {}\r\n", "y".repeat(1000));
    for _ in 0..1000 {
        if connection.try_send(&line).await.is_err() {
            break;
        }
    }

    let rest = connection.rest().await;
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 4"), "{rest}");
    assert_eq!(app.get("/hello").await.status(), 200);
}

#[tokio::test]
async fn a_header_cannot_be_injected_through_what_is_returned() {
    let app = demo::start(&[]);
    let mut connection = app.connect().await;

    connection
        .send("GET /query?word=a%0d%0aset-cookie:%20b HTTP/1.1\r\nhost: x\r\nx-request-id: a\u{85}b\r\n\r\n")
        .await;

    let answer = connection.response().await.unwrap();
    assert!(!answer.head.contains("set-cookie"), "{answer:?}");
    assert_eq!(answer.body, "a\r\nset-cookie: b");
}
