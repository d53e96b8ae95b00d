//! The OpenAPI document and the behaviour are one.

use serde_json::Value;

use crate::start;

#[tokio::test]
async fn the_document_in_the_repository_is_the_one_that_is_served() {
    let app = start(&[]);
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi/backend-api.json");
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(kept).unwrap()).unwrap();

    let served: Value = app.get("/openapi.json").await.json().await.unwrap();

    assert_eq!(served, kept, "`make openapi` writes it anew");
}

#[tokio::test]
async fn every_operation_is_described() {
    let app = start(&[]);
    let document: Value = app.get("/openapi.json").await.json().await.unwrap();

    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let described =
                operation["summary"].is_string() && operation["operationId"].is_string();
            assert!(described, "{method} {path}");
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(response["content"].is_object(), "{method} {path} {status}");
            }
        }
    }
}
