use std::path::Path;

use serde_json::Value;

use crate::app::App;

/// Checks that the document that a service serves is the one in `docs/openapi`, and that it describes each operation
/// by a summary, an id, and the content of every answer.
///
/// # Panics
/// With what differs or is missing.
pub async fn check_document(app: &App, service: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi");
    let kept = std::fs::read(folder.join(service).with_extension("json"));
    let kept: Value = serde_json::from_slice(&kept.expect("`make openapi` writes it"))
        .expect("what a service prints is JSON");

    let served = app.get("/openapi.json").await.json().await;

    let served: Value = served.expect("the document is JSON");
    assert_eq!(served, kept, "`make openapi` writes it anew");
    for (path, operations) in members(&served["paths"]) {
        for (method, operation) in members(operations) {
            let described =
                operation["summary"].is_string() && operation["operationId"].is_string();
            assert!(described, "{method} {path}");
            for (status, response) in members(&operation["responses"]) {
                assert!(response["content"].is_object(), "{method} {path} {status}");
            }
        }
    }
}

fn members(object: &Value) -> &serde_json::Map<String, Value> {
    object.as_object().expect("OpenAPI has an object here")
}
