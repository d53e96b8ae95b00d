//! The OpenAPI document and its page.

use serde_json::Value;

use crate::demo;

#[tokio::test]
async fn the_document_lists_every_endpoint() {
    let app = demo::start(&[]);

    let document: Value = app.get("/openapi.json").await.json().await.unwrap();

    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert_eq!(document["info"]["title"], "demo");
    assert_eq!(document["info"]["version"], "1.2.3");
    for (path, method) in [
        ("/hello", "get"),
        ("/items/{id}", "get"),
        ("/gate", "post"),
        ("/healthz", "get"),
        ("/readyz", "get"),
        ("/metrics", "get"),
        ("/openapi.json", "get"),
        ("/docs", "get"),
    ] {
        assert!(document["paths"][path][method]["responses"].is_object(), "{method} {path}");
    }
}

#[tokio::test]
async fn the_page_needs_nothing_from_elsewhere() {
    let app = demo::start(&[]);

    let page = app.get("/docs").await;
    assert_eq!(page.status(), 200);
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("script-src 'self'"), "{policy}");
    let page = page.text().await.unwrap();
    assert!(!page.contains("//"), "{page}");

    let links = page.split('"').filter(|part| part.starts_with("/docs/"));
    let mut loaded = 0;
    for link in links {
        let part = app.get(link).await;
        assert_eq!(part.status(), 200, "{link}");
        assert!(!part.bytes().await.unwrap().is_empty(), "{link}");
        loaded += 1;
    }
    assert!(loaded >= 3, "{page}");
}

#[tokio::test]
async fn nothing_but_the_parts_of_the_page_is_served() {
    let app = demo::start(&[]);

    for path in ["/docs/nothing", "/docs/index.html", "/docs/..%2f..%2fetc%2fpasswd", "/docs/a/b"] {
        assert_eq!(app.get(path).await.status(), 404, "{path}");
    }
}
