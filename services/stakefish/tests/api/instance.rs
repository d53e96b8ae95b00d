//! Which instance answers.

use std::time::SystemTime;

use reqwest::Method;
use serde_json::{Value, json};

use crate::Service;

#[tokio::test]
async fn an_instance_says_its_version_its_time_and_where_it_runs() {
    for (variables, kubernetes) in
        [(&[][..], false), (&[("KUBERNETES_SERVICE_HOST", "10.0.0.1")][..], true)]
    {
        let service = Service::start(variables).await;

        let instance: Value = service.app.get("/").await.json().await.unwrap();

        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let date = instance["date"].as_u64().unwrap();
        assert!((now - 60..=now).contains(&date), "{date}");
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(instance, json!({"version": version, "date": date, "kubernetes": kubernetes}));
    }
}

#[tokio::test]
async fn a_browser_gets_a_page_and_a_program_what_it_got() {
    let service = Service::start(&[]).await;
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

    for (accept, media_type) in [
        (browser, "text/html; charset=utf-8"),
        ("text/html", "text/html; charset=utf-8"),
        ("*/*", "application/json"),
        ("application/json, text/html;q=0.5", "application/json"),
        ("nonsense", "application/json"),
    ] {
        let request = service.app.request(Method::GET, "/").header("accept", accept);
        let answer = request.send().await.unwrap();

        assert_eq!(answer.status(), 200, "{accept}");
        assert_eq!(answer.headers()["vary"], "accept", "{accept}");
        assert_eq!(answer.headers()["content-type"], media_type, "{accept}");
        let policy = answer.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    }
}

#[tokio::test]
async fn the_original_health_endpoint_is_there() {
    let service = Service::start(&[]).await;

    let answer = service.app.get("/health").await;

    assert_eq!(answer.status(), 200);
    assert_eq!(answer.text().await.unwrap(), r#"{"status":"up"}"#);
}
