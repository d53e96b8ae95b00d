//! The OpenAPI document and the behaviour are one.

use serde_json::Value;

use crate::Service;

#[tokio::test]
async fn the_document_in_the_repository_is_the_one_that_is_served() {
    let service = Service::start(&[]).await;
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi/stakefish.json");
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(kept).unwrap()).unwrap();

    let served: Value = service.app.get("/openapi.json").await.json().await.unwrap();

    assert_eq!(served, kept, "`make openapi` writes it anew");
}
