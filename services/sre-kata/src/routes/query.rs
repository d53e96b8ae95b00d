//! Counting, by query string or by body.

mod input;

use actix_web::http::header::{ACCEPT, Accept, CONTENT_TYPE, Header as _, HeaderValue, VARY};
use actix_web::{HttpRequest, HttpResponse, get, mime, post};
use common::problems;
use serde::Serialize;
use server::extract::BodyProblems;
use utoipa::ToSchema;

use input::{FromBody, FromQuery};

use crate::repeats::Subject;

problems! {
    /// What a query string may be answered with.
    QueryProblems { 400: "No `param`, several, a short one, or one that is no UTF-8" }

    /// What a body may be answered with.
    PostProblems: BodyProblems {
        400: "No `param`, several, a short one, one that is no UTF-8, or malformed JSON",
        415: "The body is neither text in UTF-8 nor JSON",
        422: "JSON that is no object with a text `param`",
    }
}

/// How many characters occur more than once.
#[derive(Debug, Serialize, ToSchema)]
struct Counted<'a> {
    /// The text that was asked about.
    #[schema(example = "acx333x")]
    param: &'a str,
    /// How many distinct characters occur in it at least twice.
    #[schema(example = 2)]
    count: usize,
}

/// Count the distinct characters that occur at least twice.
///
/// Characters are Unicode code points; case matters, and nothing is normalised.
#[utoipa::path(
    tag = "sre-kata",
    params(("param" = String, Query, description = "The text, at least two characters", min_length = 2, example = "acx333x")),
    responses(
        (status = 200, description = "The count", content(
            (String = "text/plain", example = "Result: The amount of reoccurrence characters in acx333x is 2!"),
            (Counted<'_> = "application/json"),
        )),
        QueryProblems,
    ),
)]
#[get("/query")]
pub(crate) async fn get_query(request: HttpRequest, FromQuery(text): FromQuery) -> HttpResponse {
    answer(&request, &text)
}

/// Count the distinct characters of a body that occur at least twice.
#[utoipa::path(
    tag = "sre-kata",
    request_body(content((input::Text = "text/plain", example = "acx333x"), (input::Body = "application/json"))),
    responses(
        (status = 200, description = "The count", content(
            (String = "text/plain", example = "Result: The amount of reoccurrence characters in acx333x is 2!"),
            (Counted<'_> = "application/json"),
        )),
        PostProblems,
    ),
)]
#[post("/query")]
pub(crate) async fn post_query(request: HttpRequest, FromBody(text): FromBody) -> HttpResponse {
    answer(&request, &text)
}

fn answer(request: &HttpRequest, text: &Subject) -> HttpResponse {
    let (param, count) = (text.as_str(), text.count());
    let mut response = HttpResponse::Ok();
    response.insert_header((VARY, HeaderValue::from_static("Accept")));
    if prefers_json(request) {
        response.json(Counted { param, count })
    } else {
        // Joined, because formatting would take twice as long.
        let count = count.to_string();
        let answer =
            ["Result: The amount of reoccurrence characters in ", param, " is ", &count, "!"];
        response
            .insert_header((CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")))
            .body(answer.concat())
    }
}

/// Whether the client would rather have JSON; text goes to those who do not care.
fn prefers_json(request: &HttpRequest) -> bool {
    // Most clients send none or this; parsing it costs more than counting.
    if request.headers().get_all(ACCEPT).all(|value| value == "*/*") {
        return false;
    }
    let Ok(accept) = Accept::parse(request) else {
        return false;
    };
    accept
        .ranked()
        .iter()
        .find_map(|range| match (range.type_(), range.subtype()) {
            (mime::APPLICATION, mime::JSON) => Some(true),
            (mime::TEXT | mime::STAR, _) => Some(false),
            _ => None,
        })
        .unwrap_or(false)
}
