//! The welcome: for programs a line, for people a page.

use std::sync::LazyLock;

use actix_web::http::header::{CONTENT_SECURITY_POLICY, VARY};
use actix_web::{HttpRequest, HttpResponse, get, mime};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use server::prefers_html;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page, complete: it loads nothing.
static PAGE: LazyLock<String> =
    LazyLock::new(|| include_str!("page.html").replace("STYLE", STYLE).replace("SCRIPT", SCRIPT));

/// Allows the page's own style and script, by their content, and requests to this server.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode(digest(&SHA256, text.as_bytes()));
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; \
         connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        hash(SCRIPT),
        hash(STYLE)
    )
});

/// A welcome: for a client that prefers HTML a page that asks the question, feeds data and shows the queue.
#[utoipa::path(
    tag = "multivac",
    operation_id = "get_home",
    responses((status = 200, description = "A welcome", content(
        (String = "text/plain", example = "Welcome to MultiVAC!"),
        (String = "text/html"),
    ))),
)]
#[get("/")]
pub(crate) async fn get_home(request: HttpRequest) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((VARY, "accept"));
    if prefers_html(&request) {
        response.content_type(mime::TEXT_HTML_UTF_8);
        response.insert_header((CONTENT_SECURITY_POLICY, POLICY.as_str()));
        response.body(PAGE.as_str())
    } else {
        response.content_type(mime::TEXT_PLAIN_UTF_8);
        response.body("Welcome to MultiVAC!")
    }
}
