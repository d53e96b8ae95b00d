//! The page at `/`.

use reqwest::Method;

use crate::start;

#[tokio::test]
async fn a_browser_gets_a_page_and_a_program_what_it_got() {
    let app = start(&[]);
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

    for (accept, status, media_type) in [
        (browser, 200, "text/html; charset=utf-8"),
        ("text/html", 200, "text/html; charset=utf-8"),
        ("*/*", 404, "application/problem+json"),
        ("application/json, text/html;q=0.5", 404, "application/problem+json"),
        ("nonsense", 404, "application/problem+json"),
    ] {
        let answer = app.request(Method::GET, "/").header("accept", accept).send().await.unwrap();

        assert_eq!(answer.status(), status, "{accept}");
        assert_eq!(answer.headers()["vary"], "accept", "{accept}");
        assert_eq!(answer.headers()["content-type"], media_type, "{accept}");
    }
}

#[tokio::test]
async fn the_page_loads_nothing_and_may_run_nothing_but_its_own() {
    let app = start(&[]);

    let request = app.request(Method::GET, "/").header("accept", "text/html");
    let answer = request.send().await.unwrap();

    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    let page = answer.text().await.unwrap();
    for outside in ["http://", "https://", "src=\"/", "innerHTML", "{{"] {
        assert!(!page.contains(outside), "{outside}");
    }
}
