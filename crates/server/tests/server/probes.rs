//! Liveness and readiness.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use server::Stop;
use test_support::{App, logs, wait_until};

use crate::demo;

const PATIENCE: Duration = Duration::from_secs(20);

/// A service with the check `database`, which passes while the switch is on.
fn start_with_check() -> (App, Arc<AtomicBool>) {
    let switch = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&switch);
    let app = demo::start_with(&[], |context| {
        context.readiness.check(&context.tasks, "database", move || {
            let passes = seen.load(Ordering::Relaxed);
            async move { if passes { Ok(()) } else { Err("secret internals".into()) } }
        });
    });
    (app, switch)
}

async fn wait_for_readyz(app: &App, status: u16) {
    let what = format!("/readyz answers {status}");
    wait_until(&what, PATIENCE, async || app.get("/readyz").await.status() == status).await;
}

#[tokio::test]
async fn a_service_without_checks_is_alive_and_ready() {
    let app = demo::start(&[]);

    for (path, body) in [("/healthz", "healthy"), ("/readyz", "ready")] {
        let answer = app.get(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8", "{path}");
        assert_eq!(answer.text().await.unwrap(), body, "{path}");
    }
}

#[tokio::test]
async fn a_failing_check_is_named_without_its_internals() {
    let (app, _switch) = start_with_check();
    let what = "the check has run";
    wait_until(what, PATIENCE, async || {
        let report: Value = app.get("/readyz?verbose").await.json().await.unwrap();
        report["checks"][0]["state"] == "failing"
    })
    .await;

    let answer = app.get("/readyz").await;

    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["checks"], serde_json::json!(["database"]));
    assert!(!problem.to_string().contains("secret"), "{problem}");
    assert_eq!(app.get("/healthz").await.status(), 200);
    assert_eq!(app.metric("readiness_check_ok{check=\"database\"}").await, Some(0.0));
}

#[tokio::test]
async fn readiness_comes_and_goes_with_its_check() {
    let (app, switch) = start_with_check();
    wait_for_readyz(&app, 503).await;

    switch.store(true, Ordering::Relaxed);
    wait_for_readyz(&app, 200).await;
    switch.store(false, Ordering::Relaxed);
    wait_for_readyz(&app, 503).await;

    // Each change is logged once, with its cause.
    let changes = logs(|line| line["check"] == "database" && line["error"] == "secret internals");
    assert!(!changes.is_empty());
}

#[tokio::test]
async fn verbose_readiness_shows_every_check() {
    let (app, switch) = start_with_check();
    switch.store(true, Ordering::Relaxed);
    wait_for_readyz(&app, 200).await;

    for path in ["/readyz?verbose", "/readyz?verbose=1", "/readyz?x&verbose="] {
        let report: Value = app.get(path).await.json().await.unwrap();

        assert_eq!(report["ready"], true, "{path}");
        let check = &report["checks"][0];
        assert_eq!(check["name"], "database");
        assert_eq!(check["state"], "ok");
        assert!(check["last_duration_ms"].is_f64(), "{check}");
        let since = check["since"].as_str().unwrap();
        assert!(since.ends_with('Z') && since.len() == "2024-05-13T08:47:47.037Z".len(), "{since}");
    }
}

#[tokio::test]
async fn a_check_that_hangs_fails() {
    let app = demo::start_with(&[], |context| {
        context.readiness.check(&context.tasks, "redis", std::future::pending);
    });

    wait_until("the check is given up", PATIENCE, async || {
        let report: Value = app.get("/readyz?verbose").await.json().await.unwrap();
        report["checks"][0]["state"] == "failing"
    })
    .await;
}

#[tokio::test]
async fn probing_does_not_run_the_checks() {
    let runs = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let app = demo::start_with(&[], |context| {
        context.readiness.check(&context.tasks, "database", move || {
            counted.fetch_add(1, Ordering::Relaxed);
            async { Ok(()) }
        });
    });
    wait_for_readyz(&app, 200).await;

    let started = std::time::Instant::now();
    for _ in 0..200 {
        app.get("/readyz").await;
    }

    let most = started.elapsed().as_secs() + 2;
    assert!(u64::from(runs.load(Ordering::Relaxed)) <= most);
}

#[tokio::test]
async fn readiness_ends_with_the_stop_and_liveness_does_not() {
    let app = demo::start(&[("DRAIN_DELAY", "1m")]);
    app.stop_handle().stop(Stop::AfterDrainDelay);
    wait_for_readyz(&app, 503).await;

    let problem: Value = app.get("/readyz").await.json().await.unwrap();
    assert_eq!(problem["checks"], serde_json::json!(["draining"]));
    assert_eq!(app.get("/healthz").await.status(), 200);
    // Requests are still served, and connections end with them.
    let answer = app.request(Method::GET, "/hello").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["connection"], "close");
}
