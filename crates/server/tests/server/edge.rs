//! What stands between the service and the world: proxies, HTTPS, limits, the admin port.

use reqwest::Method;
use serde_json::Value;
use server::Stop;
use test_support::{App, RawConnection, RawResponse};

use crate::demo;

const BEHIND_PROXY: (&str, &str) = ("TRUSTED_PROXIES", "127.0.0.0/8");

async fn get(app: &App, path: &str, headers: &str) -> RawResponse {
    let mut connection = app.connect().await;
    connection.send(format!("GET {path} HTTP/1.1\r\nhost: demo.example\r\n{headers}\r\n")).await;
    connection.response().await.unwrap()
}

async fn logged(app: &App, id: &str) -> Value {
    app.logs_of(id).await.pop().unwrap()
}

#[tokio::test]
async fn a_forged_chain_of_a_stranger_is_not_believed() {
    let app = demo::start(&[]);

    get(
        &app,
        "/hello",
        "x-forwarded-for: 1.1.1.1\r\nx-forwarded-proto: https\r\nx-request-id: forged\r\n",
    )
    .await;

    let line = logged(&app, "forged").await;
    assert_eq!(line["req"]["client"], "127.0.0.1");
    assert_eq!(line["req"]["url"], "http://demo.example/hello");
}

#[tokio::test]
async fn a_trusted_proxy_says_who_the_client_is_and_what_it_speaks() {
    let app = demo::start(&[BEHIND_PROXY]);

    let chain = "x-forwarded-for: 9.9.9.9, 198.51.100.7, 127.0.0.2\r\nx-forwarded-proto: https\r\n";
    get(&app, "/hello", &format!("{chain}x-request-id: proxied\r\n")).await;

    let line = logged(&app, "proxied").await;
    assert_eq!(line["req"]["client"], "198.51.100.7");
    assert_eq!(line["req"]["url"], "https://demo.example/hello");
}

#[tokio::test]
async fn plain_http_is_sent_to_https_and_https_told_to_stay() {
    let app = demo::start(&[BEHIND_PROXY, ("FORCE_HTTPS", "true")]);

    let plain = get(&app, "/query/?word=a%20b", "x-forwarded-proto: http\r\n").await;
    assert_eq!(plain.status, 308);
    assert!(
        plain.head.contains("location: https://demo.example/query/?word=a%20b\r\n"),
        "{plain:?}"
    );
    assert!(!plain.head.contains("strict-transport-security"), "{plain:?}");

    let https = get(&app, "/hello", "x-forwarded-proto: https\r\n").await;
    assert_eq!(https.status, 200);
    assert!(https.head.contains("strict-transport-security: max-age=31536000\r\n"), "{https:?}");

    // Nobody says that it came in over plain HTTP: a request from inside.
    assert_eq!(get(&app, "/hello", "").await.status, 200);
    for probe in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(get(&app, probe, "x-forwarded-proto: http\r\n").await.status, 200, "{probe}");
    }
}

#[tokio::test]
async fn too_many_requests_of_one_address_are_refused_and_probes_are_not() {
    let app = demo::start(&[BEHIND_PROXY, ("RATE_LIMIT", "5/h")]);
    let from = |address: &str| format!("x-forwarded-for: {address}\r\n");

    for _ in 0..5 {
        assert_eq!(get(&app, "/hello", &from("198.51.100.7")).await.status, 200);
    }
    let refused = get(&app, "/hello", &from("198.51.100.7")).await;

    assert_eq!(refused.status, 429);
    assert!(refused.head.contains("content-type: application/problem+json\r\n"), "{refused:?}");
    let wait = refused.head.split("retry-after: ").nth(1).unwrap().split('\r').next().unwrap();
    assert!((1..=720).contains(&wait.parse::<u32>().unwrap()), "{wait}");
    assert_eq!(get(&app, "/nothing", &from("198.51.100.7")).await.status, 429);
    assert_eq!(get(&app, "/hello", &from("198.51.100.8")).await.status, 200);
    for probe in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(get(&app, probe, &from("198.51.100.7")).await.status, 200, "{probe}");
    }
}

#[tokio::test]
async fn the_admin_port_has_probes_and_metrics_and_the_other_port_loses_the_metrics() {
    let app = demo::start(&[("ADMIN_PORT", "0"), ("RATE_LIMIT", "1/h")]);
    let admin = async |path: &str| {
        let mut connection = RawConnection::open(app.admin_addr()).await;
        connection.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        connection.response().await.unwrap().status
    };

    for path in ["/healthz", "/readyz", "/metrics", "/metrics"] {
        assert_eq!(admin(path).await, 200, "{path}");
    }
    for path in ["/hello", "/docs", "/docs/start.js", "/openapi.json", "/nothing"] {
        assert_eq!(admin(path).await, 404, "{path}");
    }
    assert_eq!(app.get("/healthz").await.status(), 200);
    assert_eq!(app.get("/readyz").await.status(), 200);
    let document: Value = app.get("/openapi.json").await.json().await.unwrap();
    assert!(document["paths"]["/metrics"].is_null());
    assert_eq!(app.get("/metrics").await.status(), 429, "it is like any unknown path");
}

#[tokio::test]
async fn the_admin_port_answers_until_the_end() {
    let app = demo::start(&[("ADMIN_PORT", "0")]);
    let mut waiting = app.connect().await;
    waiting.send("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n").await;
    let admin = app.admin_addr();
    let metrics = async || {
        let mut connection = RawConnection::open(admin).await;
        connection.send("GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
        connection.response().await.unwrap().body
    };
    let active = "http_server_active_requests 2\n";
    test_support::wait_until(
        "the request was read",
        std::time::Duration::from_secs(20),
        async || metrics().await.contains(active),
    )
    .await;

    app.stop_handle().stop(Stop::SkipDrainDelay);
    test_support::wait_until(
        "no connection is taken",
        std::time::Duration::from_secs(20),
        async || metrics().await.contains("readiness_check_ok{check=\"draining\"} 0\n"),
    )
    .await;

    assert!(metrics().await.contains(active));
    waiting.send("x").await;
    assert_eq!(waiting.response().await.unwrap().body, "x");
    assert!(app.stop().await);
}

#[tokio::test]
async fn the_admin_port_does_not_redirect() {
    let app = demo::start(&[BEHIND_PROXY, ("FORCE_HTTPS", "true"), ("ADMIN_PORT", "0")]);
    let mut connection = RawConnection::open(app.admin_addr()).await;

    connection.send("GET /metrics HTTP/1.1\r\nhost: x\r\nx-forwarded-proto: http\r\n\r\n").await;

    assert_eq!(connection.response().await.unwrap().status, 200);
    assert_eq!(app.request(Method::GET, "/hello").send().await.unwrap().status(), 200);
}
