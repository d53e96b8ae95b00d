//! Pages of other origins.

use reqwest::Method;
use test_support::Sql;

use crate::Service;

async fn preflight(service: &Service, origin: &str) -> reqwest::Response {
    service
        .app
        .request(Method::OPTIONS, "/api/randomizes")
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type")
        .send()
        .await
        .unwrap()
}

#[tokio::test]
async fn pages_of_any_origin_may_use_the_api_by_default() {
    let service = Service::start(Sql::Sqlite, &[]).await.unwrap();

    let answer = preflight(&service, "https://a.example").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    assert!(answer.headers()["access-control-allow-methods"].to_str().unwrap().contains("POST"));
    for (path, status) in [("/api/randomizes", 200), ("/api/randomizes/7", 404), ("/api/x", 404)] {
        let request = service.app.request(Method::GET, path).header("origin", "https://a.example");
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["access-control-allow-origin"], "*", "{path}");
    }
    let request =
        service.app.request(Method::GET, "/healthz").header("origin", "https://a.example");
    assert!(!request.send().await.unwrap().headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn a_preflight_leaves_no_audit_row() {
    let service = Service::start(Sql::Sqlite, &[]).await.unwrap();
    preflight(&service, "https://a.example").await;

    service.create("word").await;

    let rows = service.json("/api/histories").await;
    assert_eq!(rows.as_array().unwrap().len(), 1, "{rows}");
}

#[tokio::test]
async fn named_origins_are_let_in_and_no_others() {
    let origins = "https://a.example, http://localhost:8080";
    let service = Service::start(Sql::Sqlite, &[("CORS_ALLOWED_ORIGINS", origins)]).await.unwrap();

    for origin in ["https://a.example", "http://localhost:8080"] {
        let answer = preflight(&service, origin).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["access-control-allow-origin"], origin);
    }
    for origin in ["https://b.example", "https://a.example.b.example", "null"] {
        let answer = preflight(&service, origin).await;
        assert_eq!(answer.status(), 400);
        assert!(!answer.headers().contains_key("access-control-allow-origin"));
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
}
