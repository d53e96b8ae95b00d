//! The face of the challenge's OpenAPI definition.

use reqwest::Method;
use serde_json::{Value, json};

use crate::Service;

#[tokio::test]
async fn a_lookup_has_the_shape_of_the_definition() {
    let service = Service::start(&[]).await;
    service.dns.set_addresses("example.com", &["93.184.216.34", "10.0.0.1"]);

    let answer = service.app.get("/v1/tools/lookup?domain=EXAMPLE.com").await;

    assert_eq!(answer.status(), 200);
    let answer: Value = answer.json().await.unwrap();
    let created_at = answer["created_at"].as_i64().unwrap();
    let query = json!({
        "addresses": [{"ip": "10.0.0.1"}, {"ip": "93.184.216.34"}],
        "client_ip": "127.0.0.1",
        "created_at": created_at,
        "domain": "example.com",
    });
    assert_eq!(answer, query);
    let history: Value = service.app.get("/v1/history").await.json().await.unwrap();
    assert_eq!(history, json!([query]));
}

async fn problem(
    service: &Service,
    method: Method,
    path: &str,
    accept: Option<&str>,
) -> (u16, String, Value) {
    let mut request = service.app.request(method, path);
    if let Some(accept) = accept {
        request = request.header("accept", accept);
    }
    let answer = request.send().await.unwrap();
    let vary = answer.headers().get("vary").map(|vary| vary.to_str().unwrap());
    assert_eq!(vary, path.starts_with("/v1").then_some("Accept"), "{path}");
    let content_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
    (answer.status().as_u16(), content_type, answer.json().await.unwrap())
}

#[tokio::test]
async fn a_problem_also_carries_a_message() {
    let service = Service::start(&[]).await;

    for (method, path, status) in [
        (Method::GET, "/v1/tools/lookup?domain=1.2.3.4", 400),
        (Method::GET, "/v1/tools/lookup?domain=nobody.example", 404),
        (Method::GET, "/v1/history?limit=0", 400),
        (Method::POST, "/v1/tools/validate", 400),
        (Method::GET, "/v1/nothing", 404),
        (Method::GET, "/v1", 404),
        (Method::DELETE, "/v1/history", 405),
    ] {
        let (found, content_type, problem) = problem(&service, method, path, None).await;

        assert_eq!(found, status, "{path}");
        assert_eq!(content_type, "application/problem+json", "{path}");
        assert_eq!(problem["status"], status, "{path}");
        assert_eq!(problem["message"], problem["detail"], "{path}");
        assert_eq!(problem["type"], "about:blank", "{path}");
        assert!(problem["title"].is_string() && problem["message"].is_string(), "{problem}");
    }
    let (.., elsewhere) = problem(&service, Method::GET, "/nothing", None).await;
    assert_eq!(elsewhere.get("message"), None);
}

#[tokio::test]
async fn a_client_that_accepts_only_json_gets_problems_as_json() {
    let service = Service::start(&[]).await;
    let (json, problem_json) = ("application/json", "application/problem+json");

    for (accept, expected) in [
        ("application/json", json),
        ("application/json; charset=utf-8", json),
        ("text/html, application/json;q=0.9", json),
        ("application/json, */*;q=0", json),
        ("application/json, */*", problem_json),
        ("application/json, application/*", problem_json),
        ("application/json, application/problem+json", problem_json),
        ("application/json;q=0", problem_json),
        ("text/html", problem_json),
        ("*/*", problem_json),
        ("nonsense", problem_json),
    ] {
        for path in ["/v1/history?limit=0", "/v1/nothing"] {
            let (_, content_type, problem) =
                problem(&service, Method::GET, path, Some(accept)).await;
            assert_eq!(content_type, expected, "{accept}");
            assert!(problem["message"].is_string(), "{problem}");
        }
    }
    let (_, content_type, _) = problem(&service, Method::GET, "/history?limit=0", Some(json)).await;
    assert_eq!(content_type, problem_json, "only under /v1");
}

#[tokio::test]
async fn the_document_of_v1_has_what_the_challenge_defines_and_nothing_else() {
    let service = Service::start(&[]).await;

    let document: Value = service.app.get("/v1/openapi.json").await.json().await.unwrap();

    let paths: Vec<_> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(
        paths,
        ["/v1/history", "/v1/openapi.json", "/v1/tools/lookup", "/v1/tools/validate"]
    );
    for (method, path, id) in [
        ("get", "/v1/history", "queries_history"),
        ("get", "/v1/tools/lookup", "lookup_domain"),
        ("post", "/v1/tools/validate", "validate_ip"),
    ] {
        let operation = &document["paths"][path][method];
        assert_eq!(operation["operationId"], id);
        assert_eq!(operation["tags"], json!(["v1"]));
    }
    let whole: Value = service.app.get("/openapi.json").await.json().await.unwrap();
    for path in paths {
        assert_eq!(whole["paths"][path], document["paths"][path]);
    }
}
