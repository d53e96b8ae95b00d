//! The service as its clients and its operators see it.

use greeter::{Config, build};
use test_support::{App, Binary, RawConnection, Signal};

const ADA: &str = r#"{"name":"Ada"}"#;

#[tokio::test]
async fn a_guest_is_greeted_counted_and_logged() {
    let app = App::start(&[("GREETING", "Welcome")], Config::load, build);

    let answer = app.post("/greetings", "application/json", ADA).await;

    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert_eq!(answer.text().await.unwrap(), "Welcome, Ada!");
    assert_eq!(app.metric("greeter_greetings_total").await, Some(1.0));
    assert_eq!(app.logs_of(&id).await.len(), 1);
}

#[tokio::test]
async fn bad_input_is_a_problem_that_says_why() {
    let app = App::start(&[], Config::load, build);

    for (body, detail) in [(r#"{"name":""}"#, "1 to 100 characters"), ("{}", "missing field")] {
        let answer = app.post("/greetings", "application/json", body).await;

        assert_eq!(answer.status(), 422, "{body}");
        assert!(answer.text().await.unwrap().contains(detail), "{body}");
    }
}

#[tokio::test]
async fn what_every_service_has_is_there() {
    let app = App::start(&[], Config::load, build);

    for path in ["/healthz", "/readyz", "/metrics", "/docs"] {
        assert_eq!(app.get(path).await.status(), 200, "{path}");
    }
    assert!(app.get("/openapi.json").await.text().await.unwrap().contains("/greetings"));
}

#[tokio::test]
async fn sigterm_answers_the_body_that_is_on_its_way() {
    let mut binary = Binary::start(env!("CARGO_BIN_EXE_greeter"), &[], &[("PORT", "0")]);
    let mut connection = RawConnection::open(binary.addr().await).await;
    let head = "POST /greetings HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n";
    connection.send(format!("{head}content-length: {}\r\n\r\n", ADA.len())).await;
    // It is there: the server asks for the body.
    assert_eq!(connection.response().await.unwrap().status, 100);

    binary.signal(Signal::TERM);
    binary.wait_for_message("Stopping").await;
    connection.send(ADA).await;

    assert_eq!(connection.response().await.unwrap().body, "Hello, Ada!");
    assert_eq!(binary.exit(std::time::Duration::from_secs(30)).await.code(), Some(0));
}
