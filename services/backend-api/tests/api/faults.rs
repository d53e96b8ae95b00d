//! An external service that fails, in each way that there is.

use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::Value;
use test_support::{App, Mode, Proxy, free_port, wait_until};

use crate::upstream::{Step, TIMEOUT, Upstream, empty, ok, send};
use crate::{DOWNLOAD, KEY, start, start_with};

/// Asks for the download; the request's id is returned too.
async fn download(app: &App) -> (Response, String) {
    let answer = app.get(DOWNLOAD).await;
    let id = answer.headers()["x-request-id"].to_str().unwrap();
    let id = id.to_owned();
    (answer, id)
}

/// A failure before the first byte: the status and the detail that the client gets, the outcome that is
/// counted, the cause that is logged, and the key nowhere.
async fn expect_problem(app: &App, status: u16, detail: &str, outcome: &str) {
    let before = outcomes(app, outcome).await.unwrap();

    let (answer, id) = download(app).await;

    assert_eq!(answer.status(), status, "{detail}");
    let text = answer.text().await.unwrap();
    let problem: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(problem["detail"], detail);
    assert_eq!(outcomes(app, outcome).await, Some(before + 1.0), "{outcome}");
    let line = access_line(app, &id).await;
    assert_eq!(line["level"], "ERROR", "{line}");
    let cause = line["error"].as_str().unwrap();
    assert!(cause.starts_with(detail), "{cause}");
    let metrics = app.get("/metrics").await.text().await.unwrap();
    for said in [&text, &metrics, &line.to_string()] {
        assert!(!said.contains(KEY), "{said}");
    }
    // It is the external service that is not there: this one can do nothing about it by being replaced.
    assert_eq!(app.get("/readyz").await.status(), 200);
}

/// A failure after the first byte: the body ends in an error, not in an end.
async fn expect_interruption(app: &App, part: &str, cause: &str, outcome: &str) {
    let before = outcomes(app, outcome).await.unwrap();

    let (mut answer, id) = download(app).await;

    assert_eq!(answer.status(), 200);
    let mut received = Vec::new();
    let end = loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => received.extend_from_slice(&chunk),
            end => break end,
        }
    };
    assert!(end.is_err(), "the client must not take it for the whole");
    assert_eq!(String::from_utf8(received).unwrap(), part);
    let line = access_line(app, &id).await;
    assert!(line["error"].as_str().unwrap().starts_with(cause), "{line}");
    wait_for_outcome(app, outcome, before + 1.0).await;
    assert_eq!(app.get("/readyz").await.status(), 200);
}

async fn access_line(app: &App, id: &str) -> Value {
    let mut line = Value::Null;
    wait_until("the request is logged", TIMEOUT, async || {
        let lines = app.logs_of(id).await;
        let found = lines.into_iter().find(|line| line["req"].is_object());
        line = found.unwrap_or_default();
        !line.is_null()
    })
    .await;
    line
}

async fn outcomes(app: &App, outcome: &str) -> Option<f64> {
    let sample = format!("backend_api_external_requests_total{{outcome=\"{outcome}\"}}");
    app.metric(&sample).await
}

async fn wait_for_outcome(app: &App, outcome: &str, count: f64) {
    wait_until("the outcome is counted", TIMEOUT, async || {
        outcomes(app, outcome).await == Some(count)
    })
    .await;
}

async fn retries(app: &App) -> Option<f64> {
    app.metric("backend_api_external_retries_total").await
}

/// Expects that a status is a 502 which says so, and that it is not tried again.
async fn expect_one_try(status: u16, what: &str, outcome: &str) {
    let upstream = Upstream::start(vec![empty(&format!("{status} No"), "")]).await;
    let app = start_with(&upstream, &[]);

    let detail = format!("the external service {what} {status}");
    expect_problem(&app, 502, &detail, outcome).await;

    assert_eq!(upstream.requests().len(), 1, "it is not tried again");
}

#[tokio::test]
async fn a_refused_key_is_a_502_that_says_so() {
    for status in [401, 403] {
        expect_one_try(status, "refused the key with status", "key_refused").await;
    }
}

#[tokio::test]
async fn another_status_is_a_502_that_names_it() {
    for status in [300, 304, 400, 404, 407, 429, 500, 501, 599] {
        expect_one_try(status, "answered with status", "status").await;
    }
}

#[tokio::test]
async fn what_the_external_service_says_of_an_error_reaches_nobody() {
    let answer = "HTTP/1.1 500 No\r\nx-secret: in-a-header\r\ncontent-length: 9\r\n\r\nin-a-body";
    let upstream = Upstream::start(vec![vec![send(answer)]]).await;
    let app = start_with(&upstream, &[]);

    let (answer, _) = download(&app).await;

    assert!(!answer.headers().contains_key("x-secret"));
    assert!(!answer.text().await.unwrap().contains("in-a-body"));
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    for status in [502, 503, 504] {
        let failure = empty(&format!("{status} Not now"), "");
        let upstream = Upstream::start(vec![failure.clone(), failure, ok("logs")]).await;
        let app = start_with(&upstream, &[]);

        let answer = app.get(DOWNLOAD).await;

        assert_eq!(answer.text().await.unwrap(), "logs", "{status}");
        assert_eq!(retries(&app).await, Some(2.0));
        wait_for_outcome(&app, "complete", 1.0).await;
        // Each attempt is a span of its own.
        let requests = upstream.requests().clone();
        let traceparent = |request: &String| {
            let mut lines = request.lines();
            lines.find(|line| line.starts_with("traceparent: ")).unwrap().to_owned()
        };
        assert_eq!(requests.len(), 3);
        assert_ne!(traceparent(&requests[0]), traceparent(&requests[1]));
        assert_eq!(traceparent(&requests[0])[..49], traceparent(&requests[1])[..49]);
    }
}

#[tokio::test]
async fn what_does_not_pass_is_a_502_after_the_last_retry() {
    for (variable, attempts) in [("", 3), ("0", 1), ("4", 5)] {
        let upstream = Upstream::start(vec![empty("503 Not now", "")]).await;
        let app = start_with(&upstream, &[("EXTERNAL_API_RETRIES", variable)]);

        let detail = "the external service answered with status 503";
        expect_problem(&app, 502, detail, "status").await;

        assert_eq!(upstream.requests().len(), attempts);
    }
}

#[tokio::test]
async fn retry_after_is_heeded() {
    let busy = empty("503 Not now", "retry-after: 1\r\n");
    let upstream = Upstream::start(vec![busy, ok("logs")]).await;
    let app = start_with(&upstream, &[]);
    let started = std::time::Instant::now();

    let answer = app.get(DOWNLOAD).await;

    assert_eq!(answer.text().await.unwrap(), "logs");
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_wait_that_goes_beyond_the_deadline_is_not_begun() {
    let date = std::time::SystemTime::now() + Duration::from_hours(2);
    let date = httpdate::fmt_http_date(date);
    for retry_after in ["3601", "99999999999999999999999", &date] {
        let busy = empty("503 Not now", &format!("retry-after: {retry_after}\r\n"));
        let upstream = Upstream::start(vec![busy, ok("logs")]).await;
        // A wait until the deadline would be longer than the test's.
        let app = start_with(&upstream, &[("EXTERNAL_API_TIMEOUT", "1h")]);

        let detail = "the external service answered with status 503";
        expect_problem(&app, 502, detail, "status").await;

        assert_eq!(upstream.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_refused_connection_is_a_502_after_retries() {
    let url = format!("http://127.0.0.1:{}/", free_port());
    let app = start(&[("EXTERNAL_API_URL", &url)]);

    let detail = "the external service cannot be reached";
    expect_problem(&app, 502, detail, "unreachable").await;

    assert_eq!(retries(&app).await, Some(2.0));
}

#[tokio::test]
async fn an_unknown_host_is_a_502() {
    let app =
        start(&[("EXTERNAL_API_URL", "http://nowhere.invalid/"), ("EXTERNAL_API_TIMEOUT", "20s")]);

    let detail = "the external service cannot be reached";
    expect_problem(&app, 502, detail, "unreachable").await;
}

#[tokio::test]
async fn a_service_that_comes_up_is_reached_by_a_retry() {
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}/");
    let app = start(&[("EXTERNAL_API_URL", &url), ("EXTERNAL_API_RETRIES", "100")]);
    let waiting = app.get(DOWNLOAD);
    let coming_up = async {
        wait_until("it was tried again", TIMEOUT, async || retries(&app).await > Some(0.0)).await;
        Upstream::start_on(port, vec![ok("logs")]).await
    };

    let (answer, _upstream) = tokio::join!(waiting, coming_up);

    assert_eq!(answer.text().await.unwrap(), "logs");
}

#[tokio::test]
async fn a_connection_that_ends_before_the_answer_is_tried_again() {
    let hung_up = Upstream::start(vec![vec![], vec![Step::Reset], ok("logs")]).await;
    let app = start_with(&hung_up, &[]);

    let answer = app.get(DOWNLOAD).await;

    assert_eq!(answer.text().await.unwrap(), "logs");
    let hangs_up = Upstream::start(vec![vec![]]).await;
    let app = start_with(&hangs_up, &[]);
    let detail = "the external service cannot be reached";
    expect_problem(&app, 502, detail, "unreachable").await;
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_meanwhile_costs_nothing() {
    let upstream = Upstream::start(vec![ok("logs"), vec![Step::Reset], ok("logs")]).await;
    let app = start_with(&upstream, &[]);

    for _ in 0..2 {
        assert_eq!(app.get(DOWNLOAD).await.text().await.unwrap(), "logs");
    }
}

#[tokio::test]
async fn what_is_no_http_is_a_502() {
    let nonsense = "SSH-2.0-OpenSSH_9.2\r\n\r\n";
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(1024 * 1024));
    for answer in [nonsense, "HTTP/1.1 20x OK\r\n\r\n", &endless] {
        let upstream = Upstream::start(vec![vec![send(answer)]]).await;
        let app = start_with(&upstream, &[("EXTERNAL_API_RETRIES", "0")]);

        let detail = "the external service cannot be reached";
        expect_problem(&app, 502, detail, "unreachable").await;
    }
}

#[tokio::test]
async fn no_answer_in_time_is_a_504() {
    let half_a_head = "HTTP/1.1 200 OK\r\ncontent-le";
    let busy = empty("503 Not now", "");
    for scripts in [
        vec![vec![Step::Hang]],
        vec![vec![send(half_a_head), Step::Hang]],
        vec![busy, vec![Step::Hang]],
    ] {
        let upstream = Upstream::start(scripts).await;
        let app = start_with(&upstream, &[("EXTERNAL_API_TIMEOUT", "300ms")]);

        let detail = "the external service did not answer in time";
        expect_problem(&app, 504, detail, "timed_out").await;

        // The call does not go on behind the client's back.
        upstream.wait_until_left().await;
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_host_that_answers_no_packet_is_a_504() {
    let hole = crate::upstream::BlackHole::start().await;
    let url = format!("http://{}/", hole.addr);
    let app = start(&[("EXTERNAL_API_URL", &url), ("EXTERNAL_API_TIMEOUT", "600ms")]);

    let detail = "the external service did not answer in time";
    expect_problem(&app, 504, detail, "timed_out").await;

    // The first connect was given up early enough for another.
    assert_eq!(retries(&app).await, Some(1.0));
}

#[tokio::test]
async fn a_network_that_fails_and_heals_is_noticed_each_time() {
    let upstream = Upstream::start(vec![ok("logs")]).await;
    let proxy = Proxy::start(upstream.addr());
    let url = proxy.url("http://x/logs");
    let app = start(&[("EXTERNAL_API_URL", &url), ("EXTERNAL_API_TIMEOUT", "500ms")]);
    let works = async || app.get(DOWNLOAD).await.text().await.unwrap() == "logs";

    assert!(works().await);
    proxy.cut().await;
    let detail = "the external service cannot be reached";
    expect_problem(&app, 502, detail, "unreachable").await;
    proxy.heal().await;
    assert!(works().await);
    proxy.set(Mode::Stall).await;
    let detail = "the external service did not answer in time";
    expect_problem(&app, 504, detail, "timed_out").await;
    proxy.heal().await;
    assert!(works().await);
}

/// Answers of which only a part comes: `part` of them.
fn parts() -> [Step; 3] {
    [
        send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\npart"),
        send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\n"),
        send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\npart"),
    ]
}

#[tokio::test]
async fn a_body_that_is_cut_ends_the_clients_connection_uncleanly() {
    for part in parts() {
        let upstream = Upstream::start(vec![vec![part]]).await;
        let app = start_with(&upstream, &[]);

        let cause = "the external service's answer broke off: ";
        expect_interruption(&app, "part", cause, "broken_off").await;

        assert_eq!(upstream.requests().len(), 1, "it is not tried again");
    }
}

#[tokio::test]
async fn a_connection_that_is_reset_within_the_body_ends_the_clients_uncleanly() {
    // Without a length and without chunks the reset is all that tells that something is missing.
    let until_closed = send("HTTP/1.1 200 OK\r\n\r\npart");
    for part in parts().into_iter().chain([until_closed]) {
        let upstream = Upstream::start(vec![vec![part, Step::Hang]]).await;
        let proxy = Proxy::start(upstream.addr());
        let url = proxy.url("http://x/logs");
        let app = start(&[("EXTERNAL_API_URL", &url)]);

        let (mut answer, _) = download(&app).await;
        assert_eq!(answer.chunk().await.unwrap().unwrap(), "part");
        proxy.cut().await;

        assert!(answer.chunk().await.is_err());
        wait_for_outcome(&app, "broken_off", 1.0).await;
    }
}

#[tokio::test]
async fn a_chunk_that_is_no_chunk_ends_the_clients_connection_uncleanly() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let nonsense = send(format!("{head}4\r\npart\r\nnonsense\r\n"));
    let upstream = Upstream::start(vec![vec![nonsense, Step::Hang]]).await;
    let app = start_with(&upstream, &[]);

    let cause = "the external service's answer broke off: ";
    expect_interruption(&app, "part", cause, "broken_off").await;
}

#[tokio::test]
async fn a_body_that_stalls_ends_the_clients_connection_uncleanly() {
    let nothing = send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n");
    let until_closed = send("HTTP/1.1 200 OK\r\n\r\npart");
    let mut stalls: Vec<(Step, &str)> = parts().map(|part| (part, "part")).into();
    stalls.extend([(nothing, ""), (until_closed, "part")]);
    for (step, part) in stalls {
        let upstream = Upstream::start(vec![vec![step, Step::Hang]]).await;
        let app = start_with(&upstream, &[("EXTERNAL_API_TIMEOUT", "300ms")]);

        let cause = "the external service's answer stalled";
        expect_interruption(&app, part, cause, "stalled").await;

        upstream.wait_until_left().await;
    }
}

#[tokio::test]
async fn a_part_of_a_chunked_body_has_no_last_chunk() {
    let [_, part, _] = parts();
    let upstream = Upstream::start(vec![vec![part]]).await;
    let app = start_with(&upstream, &[]);
    let mut connection = app.connect().await;

    connection.send(format!("GET {DOWNLOAD} HTTP/1.1\r\nhost: x\r\n\r\n")).await;

    let all = connection.rest().await;
    assert!(all.ends_with("\r\n\r\n4\r\npart\r\n"), "{all}");
}

#[tokio::test]
async fn a_client_that_leaves_an_endless_body_ends_the_call() {
    for chunked in [false, true] {
        let head = if chunked {
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        } else {
            "HTTP/1.1 200 OK\r\n\r\n"
        };
        let endless = Step::SendBlocks { times: u64::MAX, chunked };
        let upstream = Upstream::start(vec![vec![send(head), endless]]).await;
        let app = start_with(&upstream, &[]);
        let (mut answer, _) = download(&app).await;
        let mut received = 0;
        while received < 10 * 1024 * 1024 {
            received += answer.chunk().await.unwrap().unwrap().len();
        }

        drop(answer);

        upstream.wait_until_left().await;
        wait_for_outcome(&app, "abandoned", 1.0).await;
    }
}

/// A client that leaves when the upstream, which answers so, was asked.
async fn ask_and_leave(script: Vec<Step>) -> (App, Upstream) {
    let upstream = Upstream::start(vec![script]).await;
    let app = start_with(&upstream, &[("EXTERNAL_API_TIMEOUT", "1h")]);
    let mut connection = app.connect().await;
    connection.send(format!("GET {DOWNLOAD} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
    upstream.wait_for_request().await;
    (app, upstream)
}

#[tokio::test]
async fn a_client_that_leaves_while_nothing_comes_ends_the_call() {
    let part = "HTTP/1.1 200 OK\r\n\r\npart";
    for script in [vec![Step::Hang], vec![send(part), Step::Hang]] {
        let (app, upstream) = ask_and_leave(script).await;

        upstream.wait_until_left().await;
        wait_for_outcome(&app, "abandoned", 1.0).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_between_two_attempts_ends_the_call() {
    let busy = empty("503 Not now", "retry-after: 3000\r\n");

    let (app, _upstream) = ask_and_leave(busy).await;

    wait_for_outcome(&app, "abandoned", 1.0).await;
}

fn redirect(status: u16, location: &str) -> Vec<Step> {
    empty(&format!("{status} There"), &format!("location: {location}\r\n"))
}

#[tokio::test]
async fn redirects_within_the_origin_are_followed_with_the_key() {
    let port = free_port();
    let absolute = format!("http://127.0.0.1:{port}/4?a=b");
    let scripts = vec![
        redirect(301, "/1"),
        redirect(302, "2"),
        redirect(303, "?three"),
        redirect(307, &absolute),
        redirect(308, &format!("//127.0.0.1:{port}/../5")),
        ok("logs"),
    ];
    let upstream = Upstream::start_on(port, scripts).await;
    let app = start_with(&upstream, &[]);

    let answer = app.get(DOWNLOAD).await;

    assert_eq!(answer.text().await.unwrap(), "logs");
    let requests = upstream.requests();
    let paths: Vec<&str> =
        requests.iter().filter_map(|request| request.split(' ').nth(1)).collect();
    assert_eq!(paths, ["/logs", "/1", "/2", "/2?three", "/4?a=b", "/5"]);
    for request in requests.iter() {
        let key = format!("authorization: Bearer {KEY}\r\n").to_lowercase();
        assert!(request.contains(&key), "{request}");
        assert!(!request.contains("referer"), "{request}");
    }
}

#[tokio::test]
async fn a_sixth_redirect_is_a_502() {
    for location in ["/logs", "/elsewhere"] {
        let upstream = Upstream::start(vec![redirect(302, location)]).await;
        let app = start_with(&upstream, &[]);

        let detail = "the external service redirects to another origin or too often";
        expect_problem(&app, 502, detail, "redirect").await;

        assert_eq!(upstream.requests().len(), 6);
    }
}

#[tokio::test]
async fn another_origin_never_sees_the_key() {
    let other = Upstream::start(vec![ok("logs")]).await;
    let (home, port) = (free_port(), other.addr().port());
    let locations = [
        other.url("/logs"),
        format!("//127.0.0.1:{port}/"),
        // Another scheme and another name are another origin, even if the same program answers.
        format!("https://127.0.0.1:{home}/"),
        format!("http://localhost:{home}/"),
        format!("http://127.0.0.1:{home}@127.0.0.1:{port}/"),
        "ftp://127.0.0.1/".to_owned(),
        "data:,logs".to_owned(),
    ];
    let scripts = locations.iter().map(|location| redirect(302, location));
    let upstream = Upstream::start_on(home, scripts.collect()).await;
    let app = start_with(&upstream, &[]);

    for (number, location) in locations.iter().enumerate() {
        let detail = "the external service redirects to another origin or too often";
        expect_problem(&app, 502, detail, "redirect").await;

        assert_eq!(upstream.requests().len(), number + 1, "{location}");
    }
    assert_eq!(other.accepted(), 0);
}

#[tokio::test]
async fn a_redirect_that_leads_nowhere_is_a_502_that_names_the_status() {
    for headers in ["", "location: http://[\r\n"] {
        let upstream = Upstream::start(vec![empty("302 There", headers)]).await;
        let app = start_with(&upstream, &[]);

        let detail = "the external service answered with status 302";
        expect_problem(&app, 502, detail, "status").await;
    }
}

#[tokio::test]
async fn a_call_is_timed_up_to_its_head() {
    let upstream = Upstream::start(vec![ok("logs"), empty("404 No", "")]).await;
    let app = start_with(&upstream, &[]);

    for _ in 0..2 {
        app.request(Method::GET, DOWNLOAD).send().await.unwrap();
    }

    let count = app.metric("backend_api_external_request_duration_seconds_count");
    assert_eq!(count.await, Some(2.0));
}
