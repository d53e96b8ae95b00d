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
}

#[tokio::test]
async fn the_page_says_whose_it_is_and_leads_to_the_readme() {
    let app = demo::start(&[]);

    let page = app.get("/docs").await.text().await.unwrap();
    assert!(page.contains("<title>demo</title>"), "{page}");
    assert!(page.contains("<link rel=\"icon\" href=\"data:image/svg+xml;base64,"), "{page}");
    let document: Value = app.get("/openapi.json").await.json().await.unwrap();
    let readme = document["externalDocs"]["url"].as_str().unwrap();
    let readme = app.get(&app.resolve("/openapi.json", readme)).await;
    assert_eq!(readme.status(), 200);
    assert_eq!(readme.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(readme.text().await.unwrap(), "# demo\n");
}

#[tokio::test]
async fn the_page_finds_its_parts_whatever_a_proxy_has_before_its_path() {
    let app = demo::start(&[]);

    for (path, prefix) in [("/docs", ""), ("/docs/", ""), ("/docs", "/team/demo"), ("/docs/", "/x")]
    {
        let page = app.get(path).await.text().await.unwrap();
        let references = page.split('"').filter(|part| part.starts_with('.'));
        let mut loaded = 0;
        for reference in references {
            // As a browser sees it, and as it arrives here without the prefix.
            let found = app.resolve(&format!("{prefix}{path}"), reference);
            let part = app.get(found.strip_prefix(prefix).unwrap()).await;
            assert_eq!(part.status(), 200, "{reference}");
            assert!(!part.bytes().await.unwrap().is_empty(), "{reference}");
            loaded += 1;
        }
        assert!(loaded >= 5, "{page}");
    }
    // Where requests that are tried out go: beside the document.
    let document: Value = app.get("/openapi.json").await.json().await.unwrap();
    let server = document["servers"][0]["url"].as_str().unwrap();
    assert_eq!(app.resolve("/team/demo/openapi.json", server), "/team/demo/");
}

#[tokio::test]
async fn a_part_is_compressed_for_those_who_say_that_they_decode_it() {
    let app = demo::start(&[]);
    // The client of the other tests decodes by itself.
    let ask = async |accept: &str| {
        let mut connection = app.connect().await;
        let request = format!("GET /docs/swagger-ui.css HTTP/1.1\r\nhost: x\r\n{accept}\r\n");
        connection.send(request).await;
        let answer = connection.response().await.unwrap();
        assert!(answer.head.contains("vary: accept-encoding\r\n"), "{accept}: {}", answer.head);
        answer
    };

    for accept in ["gzip", "gzip, deflate, br", "br;q=1.0, gzip;q=0.8, *;q=0.1"] {
        let answer = ask(&format!("accept-encoding: {accept}\r\n")).await;
        assert!(answer.head.contains("content-encoding: gzip\r\n"), "{accept}: {}", answer.head);
    }
    for accept in ["", "accept-encoding: identity\r\n", "accept-encoding: gzip;q=0\r\n"] {
        let answer = ask(accept).await;
        assert!(!answer.head.contains("content-encoding"), "{accept}: {}", answer.head);
        assert!(answer.body.contains(".swagger-ui"), "{accept}");
    }
}

#[tokio::test]
async fn people_are_shown_the_page_where_there_is_nothing_else() {
    let app = demo::start(&[]);
    let ask = async |accept: &'static str| {
        app.request(reqwest::Method::GET, "/").header("accept", accept).send().await.unwrap()
    };

    let shown = ask("text/html,application/xhtml+xml,*/*;q=0.8").await;
    assert_eq!(shown.status(), 303);
    assert_eq!(shown.headers()["vary"], "Accept");
    let location = shown.headers()["location"].to_str().unwrap();
    assert_eq!(app.resolve("/", location), "/docs");
    assert_eq!(app.resolve("/team/demo/", location), "/team/demo/docs");
    for accept in ["*/*", "application/json", "application/json, text/html;q=0.5"] {
        let answer = ask(accept).await;
        assert_eq!(answer.status(), 404, "{accept}");
        assert_eq!(answer.headers()["vary"], "Accept", "{accept}");
    }
    let posted = app.post("/", "text/html", "").await;
    assert_eq!(posted.status(), 404);
}

#[tokio::test]
async fn nothing_but_the_parts_of_the_page_is_served() {
    let app = demo::start(&[]);

    for path in ["/docs/nothing", "/docs/index.html", "/docs/..%2f..%2fetc%2fpasswd", "/docs/a/b"] {
        assert_eq!(app.get(path).await.status(), 404, "{path}");
    }
}
