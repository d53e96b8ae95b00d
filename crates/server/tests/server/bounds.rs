//! What clients can make the process hold: crowds, and a stop in the middle of one.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use reqwest::Method;
use server::Stop;
use test_support::{App, RawConnection, wait_until};
use tokio::task::JoinSet;

use crate::bodies::gzip;
use crate::demo;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A quarter of it is the budget, 4 MiB.
const SMALL: (&str, &str) = ("MEMORY_LIMIT", "16MiB");

/// Another client than the one that tests ask with.
const CROWD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

async fn connect(app: &App) -> RawConnection {
    RawConnection::try_open_from(CROWD, app.addr()).await.unwrap()
}

async fn crowd(app: &App, size: usize, begin: &str) -> Vec<RawConnection> {
    let mut crowd = Vec::with_capacity(size);
    for _ in 0..size {
        let mut connection = connect(app).await;
        // Refused ones may be closed already.
        let _ = connection.try_send(begin).await;
        crowd.push(connection);
    }
    crowd
}

async fn used(app: &App) -> f64 {
    let mut sum = 0.0;
    for kind in ["connections", "bodies", "responses", "queues"] {
        let sample = format!("memory_budget_used_bytes{{kind=\"{kind}\"}}");
        sum += app.metric(&sample).await.unwrap();
    }
    sum
}

async fn refused(app: &App, kind: &str) -> f64 {
    let sample = format!("memory_budget_refused_total{{kind=\"{kind}\"}}");
    app.metric(&sample).await.unwrap()
}

#[tokio::test]
async fn a_crowd_of_half_heads_leaves_room_for_others_and_gives_it_back() {
    let app = demo::start(&[SMALL]);

    let crowd = crowd(&app, 1_500, "GET /hello HTTP/1.1\r\nhost:").await;

    wait_until("some are refused", TIMEOUT, async || refused(&app, "connections").await > 0.0)
        .await;
    assert_eq!(app.get("/hello").await.status(), 200);
    assert_eq!(app.get("/healthz").await.status(), 200);
    let limit = app.metric("memory_budget_limit_bytes").await.unwrap();
    let held = used(&app).await;
    assert!(held > limit * 0.8 && held <= limit, "{held} of {limit}");
    drop(crowd);
    wait_until("the memory is given back", TIMEOUT, async || used(&app).await < limit * 0.02).await;
    assert!(app.metric("connections_refused_total{reason=\"memory\"}").await.unwrap() > 0.0);
}

#[tokio::test]
async fn a_connection_that_does_not_fit_is_told_so() {
    let app = demo::start(&[SMALL]);
    let _crowd = crowd(&app, 1_500, "").await;

    let answer = connect(&app).await.response().await.unwrap();

    assert_eq!(answer.status, 503);
    assert!(answer.head.contains("retry-after: 1"), "{answer:?}");
}

#[tokio::test]
async fn half_bodies_that_do_not_fit_are_refused_at_once() {
    let app = demo::start(&[SMALL]);
    let half = format!(
        "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 60000\r\n\r\n{}",
        "x".repeat(59_000)
    );
    let mut crowd = crowd(&app, 60, &half).await;
    wait_until("some are refused", TIMEOUT, async || refused(&app, "bodies").await > 0.0).await;

    let mut answer = None;
    for connection in &mut crowd {
        let response = tokio::time::timeout(Duration::from_millis(50), connection.response());
        answer = response.await.ok().flatten();
        if answer.is_some() {
            break;
        }
    }

    let answer = answer.unwrap();
    assert_eq!(answer.status, 503);
    assert!(answer.head.contains("retry-after: 1"), "{answer:?}");
    assert!(answer.head.contains("application/problem+json"), "{answer:?}");
    // Others have room.
    assert_eq!(app.post("/echo", "text/plain", "y".repeat(20_000)).await.status(), 200);
    drop(crowd);
    wait_until("the memory is given back", TIMEOUT, async || used(&app).await < 100_000.0).await;
}

#[tokio::test]
async fn a_small_body_is_charged_for_what_it_becomes() {
    let app = demo::start(&[SMALL, ("BODY_LIMIT", "8MiB")]);
    let post = async |length: usize| {
        let body = gzip(&vec![b'x'; length]);
        assert!(body.len() < 10_000, "{}", body.len());
        let request = app.request(Method::POST, "/echo").header("content-encoding", "gzip");
        request.body(body).send().await.unwrap().status()
    };

    assert_eq!(post(100_000).await, 200);
    assert_eq!(post(4 << 20).await, 503);

    assert!(refused(&app, "bodies").await > 0.0);
    wait_until("the memory is given back", TIMEOUT, async || used(&app).await < 100_000.0).await;
}

#[tokio::test]
async fn readers_that_take_nothing_hold_a_bounded_number_of_answers() {
    let app = demo::start(&[SMALL]);

    let crowd = crowd(&app, 60, "GET /stream HTTP/1.1\r\nhost: x\r\n\r\n").await;

    wait_until("some are refused", TIMEOUT, async || refused(&app, "responses").await > 0.0).await;
    assert_eq!(app.get("/hello").await.status(), 200);
    drop(crowd);
    wait_until("the memory is given back", TIMEOUT, async || used(&app).await < 100_000.0).await;
}

#[tokio::test]
async fn a_reader_that_takes_nothing_makes_no_more_than_the_kernel_may_hold_of_its_answer() {
    let app = demo::start(&[]);

    let mut reader = connect(&app).await;
    reader.send("GET /stream HTTP/1.1\r\nhost: x\r\n\r\n").await;

    let mut made = 0;
    wait_until("no more of the answer is made", TIMEOUT, async || {
        let before = made;
        made = app.get("/count").await.text().await.unwrap().parse::<usize>().unwrap();
        made > 0 && made == before
    })
    .await;
    // What may be unsent, and what the reader's kernel takes.
    assert!(made < 512 * 1024, "{made} bytes");
}

async fn connections(app: &App) -> f64 {
    app.metric("memory_budget_used_bytes{kind=\"connections\"}").await.unwrap()
}

#[tokio::test]
async fn an_idle_connection_gives_its_buffers_back_and_serves_on() {
    // The tick follows from it, an eighth.
    let app = demo::start(&[("REQUEST_TIMEOUT", "400ms")]);
    let mut connection = app.connect().await;
    let hello = "GET /hello HTTP/1.1\r\nhost: x\r\n\r\n";
    let before = connections(&app).await;
    for body in ["abc", "defg", "h"] {
        connection.send(hello).await;
        assert_eq!(connection.response().await.unwrap().body, "hello");
        // One idle connection, and the one that asks.
        wait_until("the buffers are given back", TIMEOUT, async || {
            connections(&app).await < before + 4_096.0
        })
        .await;
        // What is sent in two parts, and what is sent ahead.
        let length = body.len();
        let head = format!("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n");
        connection.send(&head).await;
        connection.send(format!("\r\n{body}{head}\r\n{body}")).await;
        assert_eq!(connection.response().await.unwrap().body, body);
        assert_eq!(connection.response().await.unwrap().body, body);
    }
    wait_until("the buffers are given back", TIMEOUT, async || {
        connections(&app).await < before + 4_096.0
    })
    .await;

    // Half a head is still one that has to come in time.
    connection.send("GET /hello HTTP/1.1\r\n").await;
    assert_eq!(connection.response().await.unwrap().status, 408);
    assert_eq!(connection.rest().await, "");
}

#[tokio::test]
async fn an_idle_connection_ends_with_a_stop_at_once() {
    let app = demo::start(&[("REQUEST_TIMEOUT", "400ms"), ("DRAIN_DELAY", "0s")]);
    let mut connection = app.connect().await;
    let before = connections(&app).await;
    connection.send("GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(connection.response().await.unwrap().status, 200);
    wait_until("the buffers are given back", TIMEOUT, async || {
        connections(&app).await < before + 4_096.0
    })
    .await;

    assert!(app.stop().await);

    assert_eq!(connection.rest().await, "");
}

#[tokio::test]
async fn another_client_does_not_wait_for_each_of_those_that_send_ahead() {
    const CLIENTS: usize = 400;
    const REQUESTS: usize = 200;
    let app = demo::start(&[]);
    let ahead = "POST /count HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".repeat(REQUESTS);
    let mut other = app.connect().await;
    let mut count = async || {
        other.send("GET /count HTTP/1.1\r\nhost: x\r\n\r\n").await;
        other.response().await.unwrap().body.parse::<usize>().unwrap()
    };

    let _crowd = crowd(&app, CLIENTS, &ahead).await;
    // Those of the crowd that are answered between two answers to the other; where a test is held up, many.
    let mut between = Vec::new();
    let mut before = count().await;
    for _ in 0..20 {
        let now = count().await;
        between.push(now - before);
        before = now;
    }

    assert!(before < CLIENTS * REQUESTS, "the crowd has gone too soon: {between:?}");
    assert!(between.iter().any(|requests| *requests < CLIENTS / 2), "{between:?}");
}

#[tokio::test]
async fn what_is_sent_ahead_of_an_answer_is_not_read_and_not_lost() {
    let app = demo::start(&[]);
    let mut connection = app.connect().await;
    let hello = "GET /hello HTTP/1.1\r\nhost: x\r\n\r\n";
    let echo = "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc";
    let ahead =
        format!("GET /gate HTTP/1.1\r\nhost: x\r\n\r\n{}", [hello, echo].concat().repeat(50));

    connection.send(ahead).await;
    wait_until("the first has been read", TIMEOUT, async || {
        app.metric("http_server_active_requests").await == Some(2.0)
    })
    .await;
    app.post("/gate", "text/plain", "").await;

    assert_eq!(connection.response().await.unwrap().body, "open");
    for _ in 0..50 {
        assert_eq!(connection.response().await.unwrap().body, "hello");
        assert_eq!(connection.response().await.unwrap().body, "abc");
    }
}

#[tokio::test]
async fn a_client_that_sends_ahead_without_end_is_stopped_by_its_own_buffers() {
    let (_app, mut connection) = demo::send(&[], "GET /gate HTTP/1.1\r\nhost: x\r\n\r\n").await;

    // More than the buffers of two kernels take.
    let flood = vec![b'x'; 64 * 1024 * 1024];
    let sent = tokio::time::timeout(Duration::from_millis(500), connection.try_send(flood)).await;

    assert!(sent.is_err(), "{sent:?}");
}

/// Asks on a new connection each time, until nobody listens. Returns how many were answered.
async fn ask_until_refused(addr: SocketAddr) -> Result<u32, String> {
    for answered in 0.. {
        let mut connection = match RawConnection::try_open_from(CROWD, addr).await {
            Ok(connection) => connection,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Ok(answered),
            Err(error) => return Err(format!("connect: {error}")),
        };
        let sent = connection.try_send("GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").await;
        sent.map_err(|error| format!("send: {error}"))?;
        let answer = connection.response().await.ok_or("let in, and not answered")?;
        if answer.status != 200 {
            return Err(format!("{answer:?}"));
        }
    }
    Ok(0)
}

async fn stop_among_new_connections(drain_delay: &str) {
    let app = demo::start(&[("DRAIN_DELAY", drain_delay), ("WORKERS", "2")]);
    let addr = app.addr();
    let mut clients = JoinSet::new();
    for _ in 0..16 {
        clients.spawn(ask_until_refused(addr));
    }
    wait_until("all clients ask", TIMEOUT, async || {
        let count = "http_server_request_duration_seconds_count{http_request_method=\"GET\",\
                     http_route=\"/hello\",http_response_status_code=\"200\"}";
        app.metric(count).await > Some(200.0)
    })
    .await;

    app.stop_handle().stop(Stop::AfterDrainDelay);

    for answered in clients.join_all().await {
        assert!(answered.as_ref().is_ok_and(|answered| *answered > 0), "{answered:?}");
    }
    assert!(app.stop().await);
}

#[tokio::test]
async fn a_stop_loses_nobody_who_was_let_in() {
    stop_among_new_connections("0s").await;
}

#[tokio::test]
async fn nor_does_a_stop_after_a_drain_delay() {
    stop_among_new_connections("300ms").await;
}

#[tokio::test]
async fn behind_a_long_request_new_clients_are_refused_and_do_not_hang() {
    let app = demo::start(&[]);
    let addr = app.addr();
    let mut waiting = app.connect().await;
    waiting.send("GET /gate HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut opener = app.connect().await;
    opener.send("POST /gate HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n").await;
    wait_until("both have been read", TIMEOUT, async || {
        app.metric("http_server_active_requests").await == Some(3.0)
    })
    .await;

    app.stop_handle().stop(Stop::SkipDrainDelay);

    wait_until("nobody listens", TIMEOUT, async || {
        RawConnection::try_open_from(CROWD, addr)
            .await
            .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    })
    .await;
    opener.send("x").await;
    assert_eq!(waiting.response().await.unwrap().body, "open");
    assert!(app.stop().await);
}

#[tokio::test]
async fn a_worker_makes_room_for_another_thread_when_a_crowd_has_gone() {
    let app = demo::start(&[("MEMORY_LIMIT", "512MiB"), ("CLIENT_SHARE", "1")]);
    // A connection for each, so that none is left.
    let ask = async |request: &str| {
        let mut connection = app.connect().await;
        let text = format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        connection.send(text).await;
        connection.response().await.unwrap().body
    };
    let thread = async || ask("GET /thread").await;
    assert_eq!(ask("POST /tasks").await, "begun");
    let crowd = crowd(&app, 600, "GET /gate HTTP/1.1\r\nhost: x\r\n\r\n").await;
    // Connections are accepted in their order.
    let of_the_crowd = thread().await;

    drop(crowd);

    wait_until("another thread serves", TIMEOUT, async || thread().await != of_the_crowd).await;
    assert_eq!(ask("GET /tasks").await, "1", "the runtime is the same");
}
