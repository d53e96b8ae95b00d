//! From the start to the stop, inside the test; `sre-kata`'s tests do the same to a process.

use std::net::TcpListener;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::Loader;
use server::{Application, Config, StartError, Stop};
use test_support::{App, wait_until};

use crate::demo;

const PATIENCE: Duration = Duration::from_secs(20);

async fn wait_for_active(app: &App, requests: f64) {
    // The scrape itself is one.
    wait_until("the requests have been read", PATIENCE, async || {
        app.metric("http_server_active_requests").await == Some(requests + 1.0)
    })
    .await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut loader = Loader::new([("HOST", "127.0.0.1"), ("PORT", &address.port().to_string())]);
    let config = Config::load(&demo::SERVICE, &mut loader);

    let error = Application::new(demo::SERVICE, &config).serve(demo::routes).unwrap_err();

    assert!(matches!(error, StartError::Bind { .. }));
    assert_eq!(error.to_string(), format!("cannot listen on {address}"));
}

#[tokio::test]
async fn a_stop_answers_the_requests_that_were_read() {
    let mut readiness = None;
    let app = demo::start_with(&[], |context| readiness = Some(context.readiness.clone()));
    let mut waiting = app.connect().await;
    waiting.send("GET /gate HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut sending = app.connect().await;
    sending.send("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\nabc").await;
    let mut opener = app.connect().await;
    opener.send("POST /gate HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n").await;
    wait_for_active(&app, 3.0).await;

    app.stop_handle().stop(Stop::SkipDrainDelay);
    wait_until("the stop has begun", PATIENCE, async || {
        readiness.as_ref().is_some_and(|readiness| !readiness.is_ready())
    })
    .await;
    sending.send("def").await;
    opener.send("x").await;

    let echo = sending.response().await.unwrap();
    assert_eq!(echo.body, "abcdef");
    assert!(echo.head.contains("connection: close\r\n"), "{echo:?}");
    assert_eq!(opener.response().await.unwrap().body, "opened");
    assert_eq!(waiting.response().await.unwrap().body, "open");
    assert!(app.stop().await);
}

#[tokio::test]
async fn background_work_on_the_runtime_of_a_worker_ends_before_that_does() {
    let app = demo::start(&[("WORKERS", "2")]);
    let mut connection = app.connect().await;
    connection.send("POST /work HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert_eq!(connection.response().await.unwrap().body, "begun");

    assert!(app.stop().await);

    assert_eq!(demo::ENDED.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_a_stop() {
    let (app, mut connection) =
        demo::send(&[("SHUTDOWN_GRACE_PERIOD", "1m")], "GET /hello HTTP/1.1\r\nhost: x\r\n\r\n")
            .await;
    connection.response().await.unwrap();

    let stopped = tokio::time::timeout(PATIENCE, app.stop()).await;

    assert_eq!(stopped, Ok(true));
    assert_eq!(connection.rest().await, "");
}

#[tokio::test]
async fn a_stop_without_an_answer_in_the_grace_period_is_not_clean() {
    let (app, _connection) =
        demo::send(&[("SHUTDOWN_GRACE_PERIOD", "200ms")], "GET /gate HTTP/1.1\r\nhost: x\r\n\r\n")
            .await;
    wait_for_active(&app, 1.0).await;

    assert!(!app.stop().await);
}

#[tokio::test]
async fn background_work_ends_after_the_last_answer() {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let app = demo::start_with(&[], |context| {
        context.tasks.spawn(std::future::pending());
        context.tasks.spawn_until(|stop| async move {
            stop.cancelled().await;
            let _ = sender.send("closed");
        });
    });

    assert!(app.stop().await);

    assert_eq!(receiver.await, Ok("closed"));
}

#[tokio::test]
async fn a_service_that_is_dropped_stops() {
    let app = demo::start(&[]);
    let addr = app.addr();

    drop(app);

    wait_until("nobody listens", PATIENCE, async || {
        tokio::net::TcpStream::connect(addr).await.is_err()
    })
    .await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn threads_for_blocking_work_let_the_worker_go_first() {
    let app = demo::start(&[]);

    assert_eq!(app.get("/niceness").await.text().await.unwrap(), "10");
}
