//! Faults on purpose: who can set them, what they do, and what they never reach.

use std::time::{Duration, Instant};

use common::Loader;
use reqwest::Method;
use serde_json::{Value, json};
use server::Config;
use test_support::{App, RawConnection, logs, wait_until};

use crate::demo;

const PATIENCE: Duration = Duration::from_secs(30);

fn start() -> App {
    demo::start(&[("FAULT_INJECTION", "true"), ("ADMIN_PORT", "0")])
}

async fn get(app: &App, path: &str) -> Option<(u16, String)> {
    let answer = app.request(Method::GET, path).send().await.ok()?;
    Some((answer.status().as_u16(), answer.text().await.ok()?))
}

/// What a GET of `/hello` brings, byte by byte.
async fn raw(app: &App) -> String {
    let mut connection = RawConnection::open(app.addr()).await;
    connection.send("GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").await;
    connection.rest().await
}

#[tokio::test]
async fn a_status_is_answered_for_its_route_alone_until_it_is_taken_back() {
    let app = start();
    let set =
        app.set_faults(&json!([{ "route": "/hello", "status": 503, "duration": "1h" }])).await;

    assert_eq!(set.status(), 200);
    let (status, problem) = get(&app, "/hello").await.unwrap();
    let problem: Value = serde_json::from_str(&problem).unwrap();
    assert_eq!((status, &problem["detail"]), (503, &json!("fault injection")));
    assert_eq!(get(&app, "/items/1").await.unwrap().0, 200);
    let rules: Value =
        app.admin(Method::GET, "/faults").send().await.unwrap().json().await.unwrap();
    assert_eq!(rules["rules"][0]["route"], "/hello");
    assert_eq!(app.admin_metric("fault_rules").await, Some(1.0));
    assert_eq!(app.admin_metric("fault_injection_enabled").await, Some(1.0));
    assert_eq!(app.admin_metric("faults_injected_total{target=\"request\"}").await, Some(1.0));

    let deleted = app.admin(Method::DELETE, "/faults").send().await.unwrap();
    assert_eq!(deleted.status(), 204);
    assert_eq!(get(&app, "/hello").await.unwrap(), (200, "hello".to_owned()));
    assert_eq!(app.admin_metric("fault_rules").await, Some(0.0));
}

#[tokio::test]
async fn latency_is_added_and_each_rule_ends_by_itself() {
    let app = start();
    app.set_faults(&json!([
        { "latency": "60ms", "duration": "1h" },
        { "latency": { "from": "40ms", "to": "80ms" }, "duration": "1h" },
    ]))
    .await;
    let started = Instant::now();
    assert_eq!(get(&app, "/hello").await.unwrap().1, "hello");
    assert!(started.elapsed() >= Duration::from_millis(100));

    app.set_faults(&json!([{ "status": 500, "duration": "300ms" }])).await;
    wait_until("the rule has ended", PATIENCE, async || {
        get(&app, "/hello").await.is_some_and(|(status, _)| status == 200)
    })
    .await;
    let rules: Value =
        app.admin(Method::GET, "/faults").send().await.unwrap().json().await.unwrap();
    assert_eq!(rules, json!({ "rules": [] }));
}

#[tokio::test]
async fn a_broken_body_and_a_dropped_connection_look_like_it() {
    let app = start();
    app.set_faults(&json!([{ "body": "broken", "duration": "1h" }])).await;
    let said = raw(&app).await;
    assert!(said.contains("200 OK") && said.contains("content-length: 5"), "{said}");
    assert!(said.ends_with("\r\n\r\nhe"), "{said}");
    assert!(get(&app, "/hello").await.is_none(), "no client takes it for the whole");
    assert!(get(&app, "/stream").await.is_none());

    app.set_faults(&json!([{ "connection": "dropped", "duration": "1h" }])).await;
    assert_eq!(raw(&app).await, "");
    assert!(app.request(Method::GET, "/hello").send().await.is_err());

    app.set_faults(&json!([])).await;
    assert_eq!(get(&app, "/hello").await.unwrap().1, "hello");
}

#[tokio::test]
async fn no_rule_reaches_probes_metrics_or_the_admin_port() {
    let app = start();
    app.set_faults(&json!([
        { "status": 500, "connection": "dropped", "duration": "1h" },
        { "status": 500, "latency": "1m", "duration": "1h" },
    ]))
    .await;

    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(&app, path).await.unwrap().0, 200, "{path}");
    }
    for path in ["/healthz", "/readyz", "/metrics", "/faults", "/openapi.json"] {
        let answer = app.admin(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
    for route in ["/healthz", "/readyz", "/metrics"] {
        let refused =
            app.set_faults(&json!([{ "route": route, "status": 503, "duration": "1m" }])).await;
        assert_eq!(refused.status(), 422, "{route}");
    }
}

#[tokio::test]
async fn readiness_can_be_off_and_liveness_cannot() {
    let app = start();
    app.set_faults(&json!([{ "readiness": "off", "duration": "1h" }])).await;
    wait_until("it is not ready", PATIENCE, async || {
        get(&app, "/readyz").await.is_some_and(|(status, text)| {
            status == 503 && text.contains("\"checks\":[\"fault-injection\"]")
        })
    })
    .await;
    assert_eq!(get(&app, "/healthz").await.unwrap().0, 200);
    assert_eq!(get(&app, "/hello").await.unwrap().0, 200);

    app.admin(Method::DELETE, "/faults").send().await.unwrap();
    wait_until("it is ready", PATIENCE, async || {
        get(&app, "/readyz").await.is_some_and(|(status, _)| status == 200)
    })
    .await;
}

#[tokio::test]
async fn rules_can_be_set_on_the_admin_port_alone_and_survive_no_restart() {
    let app = start();
    let rules = json!({ "rules": [{ "status": 500, "duration": "1h" }] });
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let answer = app.request(method, "/faults").json(&rules).send().await.unwrap();
        assert_eq!(answer.status(), 404);
    }
    assert_eq!(get(&app, "/hello").await.unwrap().0, 200);
    app.set_faults(&rules["rules"]).await;
    assert_eq!(get(&app, "/hello").await.unwrap().0, 500);
    assert!(app.stop().await);
    let app = start();
    assert_eq!(get(&app, "/hello").await.unwrap().0, 200);

    // Not switched on, there is no such path at all.
    let plain = demo::start(&[("ADMIN_PORT", "0")]);
    assert_eq!(plain.set_faults(&rules["rules"]).await.status(), 404);
    assert_eq!(plain.admin_metric("fault_injection_enabled").await, None);
}

#[tokio::test]
async fn what_is_of_no_use_is_refused_and_changes_nothing() {
    let app = start();
    app.set_faults(&json!([{ "status": 500, "duration": "1h" }])).await;
    for (rule, reason) in [
        (json!({ "status": 500 }), "duration"),
        (json!({ "status": 500, "duration": "2h" }), "duration"),
        (json!({ "status": 500, "duration": 7 }), "duration"),
        (json!({ "status": 200, "duration": "1m" }), "status"),
        (json!({ "statuz": 500, "duration": "1m" }), "statuz"),
        (json!({ "store": "oracle", "outage": true, "duration": "1m" }), "store"),
        (json!({ "duration": "1m" }), "nothing"),
    ] {
        let refused = app.set_faults(&json!([rule])).await;
        assert_eq!(refused.status(), 422, "{rule}");
        let problem: Value = refused.json().await.unwrap();
        assert!(problem["detail"].as_str().unwrap().contains(reason), "{rule} {problem}");
    }
    let malformed = app.admin(Method::PUT, "/faults").body("{").send().await.unwrap();
    assert_eq!(malformed.status(), 400);
    assert_eq!(get(&app, "/hello").await.unwrap().0, 500);
}

#[tokio::test]
async fn it_is_said_loudly_and_needs_the_admin_port() {
    let mut loader = Loader::new([("FAULT_INJECTION", "true")]);
    let config = Config::load(&demo::SERVICE, &mut loader);
    let problems = loader.finish(config).unwrap_err().to_string();
    assert!(problems.contains("FAULT_INJECTION: needs ADMIN_PORT"), "{problems}");

    let app = start();
    let admin = app.admin_addr().port().to_string();
    let said = logs(|line| {
        line["level"] == "WARN"
            && line["message"]
                .as_str()
                .is_some_and(|text| text.starts_with("FAULT_INJECTION is on"))
            && line["server"]["admin_address"].as_str().is_some_and(|it| it.ends_with(&admin))
    });
    assert_eq!(said.len(), 1);
    let document = async |admin: bool| -> Value {
        let answer = if admin {
            app.admin(Method::GET, "/openapi.json").send().await.unwrap()
        } else {
            app.get("/openapi.json").await
        };
        answer.json().await.unwrap()
    };
    assert!(document(true).await["paths"]["/faults"]["put"].is_object());
    assert!(document(false).await["paths"]["/faults"].is_null());
}
