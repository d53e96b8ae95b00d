//! The welcome: for programs a line, for people a page.

use std::sync::LazyLock;

use actix_web::http::header::VARY;
use actix_web::{HttpRequest, HttpResponse, get, mime};
use server::{HtmlPage, page_parts};

use crate::SERVICE;

static PAGE: LazyLock<HtmlPage> =
    LazyLock::new(|| HtmlPage::new(&SERVICE, "MultiVAC", page_parts!("page")));

/// A welcome: for a client that prefers HTML a page that asks the question, feeds data and shows the queue.
#[utoipa::path(
    tag = "multivac",
    responses((status = 200, description = "A welcome", content(
        (String = "text/plain", example = "Welcome to MultiVAC!"),
        (String = "text/html"),
    ))),
)]
#[get("/")]
pub(crate) async fn get_home(request: HttpRequest) -> HttpResponse {
    PAGE.answer(&request).unwrap_or_else(|| {
        HttpResponse::Ok()
            .insert_header((VARY, "accept"))
            .content_type(mime::TEXT_PLAIN_UTF_8)
            .body("Welcome to MultiVAC!")
    })
}
