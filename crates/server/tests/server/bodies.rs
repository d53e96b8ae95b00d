//! Bodies that are too large, wrong, or of another type.

use std::time::Duration;

use serde_json::Value;

use crate::demo;

#[tokio::test]
async fn a_body_of_the_limit_is_taken_and_one_byte_more_is_not() {
    let app = demo::start(&[("BODY_LIMIT", "1KiB")]);

    let taken = app.post("/echo", "text/plain", vec![b'x'; 1024]).await;
    let refused = app.post("/echo", "text/plain", vec![b'x'; 1025]).await;

    assert_eq!(taken.status(), 200);
    assert_eq!(taken.text().await.unwrap().len(), 1024);
    assert_eq!(refused.status(), 413);
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["detail"], "the body is larger than 1024 bytes");
}

#[tokio::test]
async fn a_body_that_is_announced_too_large_is_refused_before_it_is_sent() {
    let (_app, mut connection) =
        demo::send(&[], "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 10000000\r\n\r\n").await;

    let answer = connection.response().await.unwrap();
    assert_eq!(answer.status, 413);
    assert!(answer.head.contains("connection: close\r\n"), "{answer:?}");
    assert_eq!(connection.rest().await, "");
}

#[tokio::test]
async fn a_chunked_body_without_end_is_refused_and_its_connection_closed() {
    let (_app, mut connection) =
        demo::send(&[], "POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));

    // The client writes on while the answer is on its way, until the server has had enough of it.
    let refused = tokio::time::timeout(Duration::from_secs(30), async {
        while connection.try_send(&chunk).await.is_ok() {}
    });

    assert!(refused.await.is_ok(), "the server reads on for ever");
    let rest = connection.rest().await;
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 413"), "{rest}");
}

#[tokio::test]
async fn a_client_that_sends_on_after_a_413_reads_the_answer() {
    let (_app, mut connection) =
        demo::send(&[], "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 200000\r\n\r\n").await;
    connection.send(vec![b'x'; 200_000]).await;

    assert_eq!(connection.response().await.unwrap().status, 413);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_request() {
    let text =
        "POST /echo HTTP/1.1\r\nhost: x\r\nx-request-id: cut\r\ncontent-length: 10\r\n\r\nabc";
    let (app, connection) = demo::send(&[], text).await;
    drop(connection);

    let status = app.logs_of("cut").await[0]["res"]["status_code"].clone();
    assert!(status == 400 || status == 499, "{status}");
}

#[tokio::test]
async fn json_is_read_with_and_without_a_content_type() {
    let app = demo::start(&[]);
    let json = r#"{"word":"a","more":1}"#;

    for content_type in
        ["application/json", "application/json; charset=utf-8", "application/x+json"]
    {
        let answer = app.post("/json", content_type, json).await;
        assert_eq!(answer.status(), 200, "{content_type}");
    }
    let without = app.request(reqwest::Method::POST, "/json").body(json).send().await.unwrap();
    assert_eq!(without.text().await.unwrap(), "a");
}

#[tokio::test]
async fn json_that_is_malformed_or_wrong_says_so() {
    let app = demo::start(&[]);

    for (body, status) in [
        ("", 400),
        ("{", 400),
        ("{\"word\":\"a\"} x", 400),
        ("{\"word\":\"\u{0}\"}", 400),
        ("{}", 422),
        ("[]", 422),
        ("null", 422),
        ("{\"word\":1}", 422),
        ("{\"word\":\"a\",\"word\":\"b\"}", 422),
    ] {
        let answer = app.post("/json", "application/json", body).await;
        assert_eq!(answer.status(), status, "{body:?}");
        let problem: Value = answer.json().await.unwrap();
        assert!(problem["detail"].is_string(), "{body:?}: {problem}");
    }
}

#[tokio::test]
async fn another_media_type_is_a_415() {
    let app = demo::start(&[]);

    for content_type in ["text/plain", "application/x-www-form-urlencoded", "nonsense", "image/png"]
    {
        let answer = app.post("/json", content_type, r#"{"word":"a"}"#).await;
        assert_eq!(answer.status(), 415, "{content_type}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_json_is_said_in_the_clients_words() {
    let app = demo::start(&[]);

    for (body, detail) in [
        (r#"["a"]"#, "expected an object, found an array"),
        (r#"{"word":["a"]}"#, "`word`: expected a string, found an array"),
        (r#"{"word":null}"#, "`word`: expected a string, found null"),
        ("{}", "missing field `word`"),
    ] {
        let answer = app.post("/json", "application/json", body).await;
        assert_eq!(answer.status(), 422, "{body}");
        assert_eq!(answer.json::<Value>().await.unwrap()["detail"], detail, "{body}");
    }
}

#[tokio::test]
async fn a_byte_order_mark_before_json_is_skipped() {
    let app = demo::start(&[]);

    let answer = app.post("/json", "application/json", "\u{feff}{\"word\":\"a\"}").await;
    let twice = app.post("/json", "application/json", "\u{feff}\u{feff}{\"word\":\"a\"}").await;

    assert_eq!(answer.text().await.unwrap(), "a");
    assert_eq!(twice.status(), 400);
}

/// As `gzip` writes it.
pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, text).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_body_in_gzip_is_decoded_within_the_limit() {
    let app = demo::start(&[("BODY_LIMIT", "1KiB")]);
    let post = async |coding: &'static str, body: Vec<u8>| {
        let request =
            app.request(reqwest::Method::POST, "/echo").header("content-encoding", coding);
        request.body(body).send().await.unwrap()
    };

    for coding in ["gzip", "GZIP", "x-gzip", "identity, gzip"] {
        let answer = post(coding, gzip(b"some text")).await;
        assert_eq!(answer.text().await.unwrap(), "some text", "{coding}");
    }
    let parts = [gzip(b"some "), gzip(b"text")].concat();
    assert_eq!(post("gzip", parts).await.text().await.unwrap(), "some text");
    assert_eq!(post("gzip", gzip(&[b'x'; 1024])).await.status(), 200);
    let larger = post("gzip", gzip(&[b'x'; 1025])).await;
    assert_eq!(larger.status(), 413);
    // As small as its thousandth part, and never decoded as a whole.
    let bomb = gzip(&vec![0; 900_000]);
    assert!(bomb.len() < 1024, "{}", bomb.len());
    assert_eq!(post("gzip", bomb).await.status(), 413);
    for broken in [b"some text".to_vec(), gzip(b"some text")[..15].to_vec()] {
        assert_eq!(post("gzip", broken).await.status(), 400);
    }
}

#[tokio::test]
async fn another_coding_is_a_415_that_names_ours() {
    let app = demo::start(&[]);

    for coding in ["br", "deflate", "zstd", "gzip, gzip", "nonsense"] {
        let request =
            app.request(reqwest::Method::POST, "/json").header("content-encoding", coding);
        let answer = request.body(r#"{"word":"a"}"#).send().await.unwrap();
        assert_eq!(answer.status(), 415, "{coding}");
        assert_eq!(answer.headers()["accept-encoding"], "gzip", "{coding}");
    }
}
