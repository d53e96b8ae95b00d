//! The page for people.

use std::sync::LazyLock;

use actix_web::http::header::{HeaderValue, VARY};
use actix_web::{HttpRequest, HttpResponse, get};
use common::{Problem, problems};
use server::{HtmlPage, no_such_route, page_parts};

use crate::SERVICE;

static PAGE: LazyLock<HtmlPage> =
    LazyLock::new(|| HtmlPage::new(&SERVICE, SERVICE.name, page_parts!("home/page")));

problems! {
    /// What others than browsers get.
    HomeProblems { 404: "For a client that does not prefer HTML" }
}

/// A page that shows which characters repeat, for a client that prefers HTML.
#[utoipa::path(
    tag = "sre-kata",
    responses((status = 200, description = "The page", body = String, content_type = "text/html"), HomeProblems),
)]
#[get("/")]
pub(crate) async fn get_home(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let no_page = || no_such_route().header(VARY, HeaderValue::from_static("accept"));
    PAGE.answer(&request).ok_or_else(no_page)
}
