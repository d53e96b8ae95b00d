//! Bodies of answers whose length is announced.

use test_support::App;

use crate::demo::{self, body};

/// A large part is written from where it is, a small one with its neighbours.
const LARGE: usize = 100 * 1024;

async fn expect_body(app: &App, announced: usize, parts: &[usize]) {
    let answer = app.get(&demo::parts(announced, parts)).await;

    assert_eq!(answer.status(), 200, "{parts:?}");
    assert_eq!(answer.content_length(), Some(announced as u64), "{parts:?}");
    assert!(answer.bytes().await.unwrap() == body(announced), "{parts:?}");
}

#[tokio::test]
async fn large_and_small_parts_arrive_in_their_order() {
    let app = demo::start(&[]);

    // More than the kernel holds for a client, so that the server has to wait for this one.
    let many = [LARGE; 200];
    for parts in [
        &[1][..],
        &[LARGE],
        &[0, LARGE, 0],
        &[10, LARGE, 10, 10, LARGE, LARGE, 32 * 1024, 32 * 1024 - 1, 10],
        &many,
    ] {
        expect_body(&app, parts.iter().sum(), parts).await;
    }
}

#[tokio::test]
async fn what_is_more_than_announced_is_not_sent() {
    let app = demo::start(&[]);
    let mut connection = app.connect().await;

    for (announced, parts) in [(5, &[LARGE][..]), (LARGE + 5, &[LARGE, LARGE]), (5, &[5, LARGE])] {
        let target = demo::parts(announced, parts);
        connection.send(format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        let answer = connection.response().await.unwrap();

        // The next answer begins where this one ends.
        assert_eq!(answer.status, 200, "{target}");
        assert_eq!(answer.body.as_bytes(), body(announced), "{target}");
    }
    connection.send("GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(connection.response().await.unwrap().body, "hello");
}

#[tokio::test]
async fn an_answer_that_is_shorter_than_announced_breaks_off() {
    let app = demo::start(&[]);

    for parts in [&[5][..], &[LARGE], &[5, LARGE, 5]] {
        let whole: usize = parts.iter().sum();
        let mut answer = app.get(&demo::parts(whole + 1, parts)).await;

        let mut received = Vec::new();
        let end = loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => received.extend_from_slice(&chunk),
                end => break end,
            }
        };
        assert!(end.is_err(), "{parts:?}");
        assert!(received == body(whole), "{parts:?}: {} bytes came", received.len());
    }
}

#[tokio::test]
async fn head_announces_the_length_alone() {
    let target = demo::parts(LARGE, &[LARGE]);
    let head = format!("HEAD {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let (_app, mut connection) = demo::send(&[], &head).await;
    let all = connection.rest().await;

    assert!(all.contains(&format!("content-length: {LARGE}\r\n")), "{all}");
    assert!(all.ends_with("\r\n\r\n"), "{all}");
}
