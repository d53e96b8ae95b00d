//! What is wrong, in the words of the challenge's clients.

use actix_web::body::{BoxBody, MessageBody as _};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{Accept, CONTENT_TYPE, Header as _, HeaderValue, Quality, VARY};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest};
use common::problem::{MEDIA_TYPE, ProblemDetails};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// What went wrong, with the member `message` that the challenge's definition knows.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HttpError {
    /// What is wrong with this request.
    #[schema(example = "missing field `domain`")]
    message: String,
    #[serde(flatten)]
    problem: ProblemDetails,
}

/// Gives a problem the form that the challenge's clients know: the member `message`, 400 for whatever is wrong with
/// the input, and `application/json` where nothing else is accepted.
pub(super) async fn translate(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let media_type = if wants_json(request.request()) { "application/json" } else { MEDIA_TYPE };
    let response = next.call(request).await?;
    let is_problem = |value: &HeaderValue| value == MEDIA_TYPE;
    if !response.headers().get(CONTENT_TYPE).is_some_and(is_problem) {
        return Ok(response);
    }
    Ok(response.map_body(|head, body| {
        let body = body.try_into_bytes().unwrap_or_default();
        let mut problem: Map<String, Value> = serde_json::from_slice(&body).unwrap_or_default();
        if head.status == StatusCode::UNPROCESSABLE_ENTITY {
            head.status = StatusCode::BAD_REQUEST;
            problem.insert("status".into(), head.status.as_u16().into());
            problem.insert("title".into(), head.status.canonical_reason().into());
        }
        let message = problem.get("detail").or(problem.get("title")).cloned();
        problem.insert("message".into(), message.into());
        head.headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        head.headers.append(VARY, HeaderValue::from_static("Accept"));
        BoxBody::new(serde_json::to_vec(&problem).unwrap_or_default())
    }))
}

/// Whether a client takes `application/json` and says nothing that a problem's own media type fits.
fn wants_json(request: &HttpRequest) -> bool {
    let Ok(accept) = Accept::parse(request) else { return false };
    let accepted = |essence: &str| {
        accept.iter().any(|it| it.quality > Quality::ZERO && it.item.essence_str() == essence)
    };
    accepted("application/json") && ![MEDIA_TYPE, "application/*", "*/*"].into_iter().any(accepted)
}
