//! The welcome.

use base64::Engine as _;
use reqwest::Method;
use ring::digest::{SHA256, digest};

use crate::{Stores, on_each_store};

on_each_store!(a_program_is_welcomed_by_a_line_and_a_browser_by_a_page);

async fn a_program_is_welcomed_by_a_line_and_a_browser_by_a_page(stores: Stores) {
    let multivac = stores.start_without_worker(&[]).await;
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
    for (accept, media_type) in [
        (None, "text/plain"),
        (Some("*/*"), "text/plain"),
        (Some("text/plain, text/html;q=0.5"), "text/plain"),
        (Some("application/json"), "text/plain"),
        (Some("nonsense"), "text/plain"),
        (Some(browser), "text/html"),
        (Some("text/html"), "text/html"),
    ] {
        let request = multivac.server.request(Method::GET, "/");
        let request = match accept {
            Some(accept) => request.header("accept", accept),
            None => request,
        };
        let answer = request.send().await.unwrap();

        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["vary"], "accept");
        assert_eq!(answer.headers()["content-type"], format!("{media_type}; charset=utf-8"));
        let body = answer.text().await.unwrap();
        assert_eq!(body == "Welcome to MultiVAC!", media_type == "text/plain", "{accept:?}");
    }
}

#[tokio::test]
async fn the_page_may_run_its_own_script_and_style_and_nothing_else() {
    let multivac = Stores::embedded().start(&[]).await;
    let request = multivac.server.request(Method::GET, "/").header("accept", "text/html");
    let answer = request.send().await.unwrap();
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    let page = answer.text().await.unwrap();

    for (directive, tag) in [("script-src", "script"), ("style-src", "style")] {
        let (start, end) = (format!("<{tag}>"), format!("</{tag}>"));
        let inline = page.split_once(&start).unwrap().1.split_once(&end).unwrap().0;
        let hash = digest(&SHA256, inline.as_bytes());
        let hash = base64::engine::general_purpose::STANDARD.encode(hash);
        assert!(policy.contains(&format!("{directive} 'sha256-{hash}'")), "{policy}");
    }
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    for outside in ["http://", "https://", "src=\"/", "src=\"h", "onclick", "innerHTML"] {
        assert!(!page.contains(outside), "{outside}");
    }
}
