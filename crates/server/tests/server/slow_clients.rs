//! Clients that take their time.

use crate::demo;

const SHORT: [(&str, &str); 1] = [("REQUEST_TIMEOUT", "100ms")];

#[tokio::test]
async fn a_head_that_does_not_come_to_its_end_is_a_408() {
    let (_app, mut connection) = demo::send(&SHORT, "GET /hello HTTP/1.1\r\nhost:").await;

    let answer = connection.response().await.unwrap();
    assert_eq!(answer.status, 408);
    assert_eq!(connection.rest().await, "");
}

#[tokio::test]
async fn so_is_a_later_head_on_the_same_connection() {
    let (_app, mut connection) = demo::send(&SHORT, "GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(connection.response().await.unwrap().status, 200);

    connection.send("GET /hello HTTP/1.1\r\nhost:").await;

    assert_eq!(connection.response().await.unwrap().status, 408);
    assert_eq!(connection.rest().await, "");
}

#[tokio::test]
async fn a_head_that_drips_is_not_saved_by_its_drops() {
    let (_app, mut connection) = demo::send(&SHORT, "GET /hello HTTP/1.1\r\n").await;

    // One byte at a time, for as long as the server takes them.
    let mut dripped = 0_u32;
    while dripped < 10_000 && connection.try_send("x").await.is_ok() {
        dripped += 1;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }

    assert!(dripped < 10_000);
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed_without_a_word() {
    let app = demo::start(&SHORT);

    assert_eq!(app.connect().await.rest().await, "");
}

#[tokio::test]
async fn an_idle_connection_is_kept_after_a_request() {
    let app = demo::start(&SHORT);
    let mut connection = app.connect().await;
    let hello = "GET /hello HTTP/1.1\r\nhost: x\r\n\r\n";
    connection.send(hello).await;
    assert_eq!(connection.response().await.unwrap().status, 200);

    // Longer than a head may take: between requests that limit does not count.
    tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    connection.send(hello).await;

    assert_eq!(connection.response().await.unwrap().status, 200);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_a_408() {
    let (_app, mut connection) =
        demo::send(&SHORT, "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc").await;

    let answer = connection.response().await.unwrap();
    assert_eq!(answer.status, 408);
    assert!(answer.head.contains("application/problem+json"), "{answer:?}");
    assert!(answer.head.contains("connection: close"), "{answer:?}");
    assert_eq!(connection.rest().await, "");
}

#[tokio::test]
async fn a_slow_request_does_not_count_against_its_handler() {
    let (app, mut connection) = demo::send(&SHORT, "GET /gate HTTP/1.1\r\nhost: x\r\n\r\n").await;
    tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    app.post("/gate", "text/plain", "").await;

    assert_eq!(connection.response().await.unwrap().body, "open");
}
