//! What `/metrics` shows.

use reqwest::Method;

use crate::demo;

#[tokio::test]
async fn requests_are_counted_by_method_route_and_status() {
    let app = demo::start(&[]);
    for path in ["/items/1", "/items/2/", "/items/x", "/hello"] {
        app.get(path).await;
    }
    app.request(Method::DELETE, "/hello").send().await.unwrap();

    let count = async |method: &str, route: &str, status: u16| {
        let sample = format!(
            "http_server_request_duration_seconds_count{{http_request_method=\"{method}\",\
             http_route=\"{route}\",http_response_status_code=\"{status}\"}}"
        );
        app.metric(&sample).await
    };
    assert_eq!(count("GET", "/items/{id}", 200).await, Some(2.0));
    assert_eq!(count("GET", "/items/{id}", 404).await, Some(1.0));
    assert_eq!(count("GET", "/hello", 200).await, Some(1.0));
    assert_eq!(count("DELETE", "/hello", 405).await, Some(1.0));
}

#[tokio::test]
async fn no_client_can_grow_the_number_of_series() {
    let app = demo::start(&[]);
    let series = async || app.get("/metrics").await.text().await.unwrap().lines().count();
    app.get("/nothing").await;
    app.request(Method::from_bytes(b"BREW").unwrap(), "/nothing").send().await.unwrap();
    app.get("/docs/nothing").await;
    app.get("/metrics").await;
    let before = series().await;

    for number in 0..50 {
        app.get(&format!("/nothing/{number}")).await;
        app.get(&format!("/docs/{number}")).await;
        let method = Method::from_bytes(format!("BREW{number}").as_bytes()).unwrap();
        app.request(method, &format!("/no/{number}")).send().await.unwrap();
    }

    assert_eq!(series().await, before);
    let others = "http_server_request_duration_seconds_count{http_request_method=\"_OTHER\",\
                  http_route=\"unmatched\",http_response_status_code=\"404\"}";
    assert_eq!(app.metric(others).await, Some(51.0));
}

#[tokio::test]
async fn the_process_and_the_build_are_described() {
    let app = demo::start(&[]);

    let build = "build_info{service=\"demo\",version=\"1.2.3\",revision=\"unknown\"}";
    assert_eq!(app.metric(build).await, Some(1.0));
    assert_eq!(app.metric("log_lines_dropped_total").await, Some(0.0));
    if cfg!(target_os = "linux") {
        for metric in [
            "process_resident_memory_bytes",
            "process_virtual_memory_bytes",
            "process_cpu_seconds_total",
            "process_open_fds",
            "process_max_fds",
            "process_start_time_seconds",
        ] {
            assert!(app.metric(metric).await.is_some_and(|value| value > 0.0), "{metric}");
        }
    }
}

#[tokio::test]
async fn a_request_in_progress_is_active() {
    let (app, mut connection) = demo::send(&[], "GET /gate HTTP/1.1\r\nhost: x\r\n\r\n").await;

    // The scrape itself is one.
    let active = async || app.metric("http_server_active_requests").await;
    test_support::wait_until(
        "the request is active",
        std::time::Duration::from_secs(20),
        async || active().await == Some(2.0),
    )
    .await;
    app.post("/gate", "text/plain", "").await;
    connection.response().await.unwrap();

    assert_eq!(active().await, Some(1.0));
}

#[tokio::test]
async fn both_formats_are_spoken() {
    let app = demo::start(&[]);

    let classic = app.get("/metrics").await;
    assert_eq!(classic.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let classic = classic.text().await.unwrap();
    assert!(classic.contains("# TYPE http_server_panics_total counter\n"), "{classic}");
    assert!(!classic.contains("# EOF"), "{classic}");

    let request = app.request(Method::GET, "/metrics");
    let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    let open = request.header("accept", accept).send().await.unwrap();
    let content_type = open.headers()["content-type"].to_str().unwrap();
    assert!(content_type.starts_with("application/openmetrics-text; version=1.0.0"));
    let open = open.text().await.unwrap();
    assert!(open.contains("# TYPE http_server_panics counter\n"), "{open}");
    assert!(open.ends_with("# EOF\n"), "{open}");
}
