//! What each request for words leaves behind.

use reqwest::Method;
use serde_json::{Value, json};
use test_support::{RawConnection, on_both_databases};

use crate::{Service, TIMEOUT};

/// What a row says, without its number and time.
fn told(row: &Value) -> (&str, &str, &str, &str) {
    let text = |member: &str| row[member].as_str().unwrap();
    (text("method"), text("route"), text("data"), text("status"))
}

on_both_databases! {
    async fn every_request_leaves_one_row_in_the_order_of_their_answers(sql: Sql) {
        let Some(service) = Service::start(sql, &[]).await else { return };
        let body = r#"{"word":"string"}"#;

        service.post(body).await;
        service.post("{").await;
        service.post(r#"{"word":1}"#).await;
        service.app.request(Method::PUT, "/api/randomizes/1").body("put").send().await.unwrap();

        // All of them are there as soon as they are answered.
        let rows = service.json("/api/histories").await;
        let rows: Vec<_> = rows.as_array().unwrap().iter().map(told).collect();
        assert_eq!(
            rows,
            [
                ("POST", "/api/randomizes", body, "201 CREATED"),
                ("POST", "/api/randomizes", "{", "400 BAD REQUEST"),
                ("POST", "/api/randomizes", r#"{"word":1}"#, "422 UNPROCESSABLE ENTITY"),
                ("PUT", "/api/randomizes/1", "put", "405 METHOD NOT ALLOWED"),
            ]
        );
    }

    async fn a_read_leaves_its_row_soon(sql: Sql) {
        let Some(service) = Service::start(sql, &[]).await else { return };

        for path in ["/api/randomizes/7", "/api/randomizes/", "/api/randomizes/a%20b?limit=1"] {
            service.app.get(path).await;
        }
        service.app.request(Method::HEAD, "/api/randomizes").send().await.unwrap();
        service.app.request(Method::OPTIONS, "/api/randomizes").send().await.unwrap();
        service.app.get("/api/randomizesx").await;

        let rows = service.histories(5).await;
        let rows: Vec<_> = rows.iter().map(told).collect();
        assert_eq!(
            rows,
            [
                ("GET", "/api/randomizes/7", "", "404 NOT FOUND"),
                ("GET", "/api/randomizes/", "", "200 OK"),
                ("GET", "/api/randomizes/a%20b", "", "404 NOT FOUND"),
                ("HEAD", "/api/randomizes", "", "200 OK"),
                ("OPTIONS", "/api/randomizes", "", "204 NO CONTENT"),
            ]
        );
    }

    async fn the_rows_of_reads_are_written_before_the_end(sql: Sql) {
        let Some(service) = Service::start(sql, &[]).await else { return };
        for _ in 0..50 {
            service.app.get("/api/randomizes/1").await;
        }

        let database = service.database;
        assert!(service.app.stop().await);

        let service = Service::start_on(database, &[]).await;
        assert_eq!(service.histories(50).await.len(), 50);
    }

    async fn a_body_is_kept_as_text_that_fits(sql: Sql) {
        let Some(service) = Service::start(sql, &[]).await else { return };

        service.post(&b"a\0b\xffc"[..]).await;
        service.post("é".repeat(5000)).await;
        service.post("x".repeat(70_000)).await;

        let rows = service.histories(3).await;
        assert_eq!(rows[0]["data"], "a\u{fffd}b\u{fffd}c");
        let cut = rows[1]["data"].as_str().unwrap();
        assert!(cut.len() <= 4096 && cut.ends_with("é…"), "{} bytes", cut.len());
        assert_eq!(rows[2]["status"], "413 PAYLOAD TOO LARGE");
    }

    async fn a_body_that_breaks_off_leaves_a_row_and_no_word(sql: Sql) {
        let Some(service) = Service::start(sql, &[("REQUEST_TIMEOUT", "200ms")]).await else {
            return;
        };
        let mut connection = RawConnection::open(service.app.addr()).await;
        connection
            .send("POST /api/randomizes HTTP/1.1\r\nhost: x\r\ncontent-length: 20\r\n\r\n{\"word\"")
            .await;

        assert_eq!(connection.response().await.unwrap().status, 408);
        assert_eq!(service.histories(1).await[0]["status"], "408 REQUEST TIMEOUT");
        assert_eq!(service.json("/api/randomizes").await, json!([]));
    }

    async fn rows_expire_and_words_do_not(sql: Sql) {
        let Some(service) = Service::start(sql, &[]).await else { return };
        for n in 0..5 {
            service.create(&format!("word {n}")).await;
        }
        let database = service.database;
        assert!(service.app.stop().await);

        let service = Service::start_on(database, &[("AUDIT_RETENTION", "1ms")]).await;

        // Rows are counted once they are gone.
        test_support::wait_until("the rows are counted", TIMEOUT, async || {
            service.app.metric("randomize_audit_rows_expired_total").await == Some(5.0)
        })
        .await;
        assert_eq!(service.json("/api/histories").await, json!([]));
        assert_eq!(service.json("/api/randomizes").await.as_array().unwrap().len(), 5);
    }
}
