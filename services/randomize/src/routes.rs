//! The service's own endpoints.

mod histories;
mod randomizes;

use actix_cors::Cors;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    AUTHORIZATION, CONTENT_TYPE, LINK, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use actix_web::middleware::{Next, from_fn};
use common::context::{REQUEST_ID, TRACEPARENT};
use common::problem::MEDIA_TYPE;
use serde_json::{Map, Value};
use utoipa_actix_web::scope;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::audit;
use crate::config::Origins;

/// How long a browser may keep the answer to a preflight, in seconds.
const PREFLIGHT_AGE: usize = 3600;

/// Lists the handlers, and what surrounds them: the innermost is listed last.
pub(crate) fn configure(config: &mut ServiceConfig<'_>, origins: &Origins) {
    let words = scope("/randomizes")
        .service(randomizes::create_randomize)
        .service(randomizes::get_randomizes)
        .service(randomizes::get_randomize)
        .wrap(from_fn(audit::record));
    config.service(
        scope("/api")
            .service(histories::get_histories)
            .service(words)
            .wrap(from_fn(add_code))
            .wrap(cors(origins)),
    );
}

/// Pages of these origins may use the API.
fn cors(origins: &Origins) -> Cors {
    let cors = Cors::default()
        .allowed_methods(["GET", "HEAD", "POST"])
        .allowed_headers([AUTHORIZATION, CONTENT_TYPE, REQUEST_ID, TRACEPARENT])
        .expose_headers([LINK, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE, REQUEST_ID])
        .max_age(PREFLIGHT_AGE);
    if origins.named().is_empty() {
        return cors.allow_any_origin().send_wildcard();
    }
    origins.named().iter().fold(cors, |cors, origin| cors.allowed_origin(origin))
}

/// Adds `code` to a problem, the status as a number, where the original's clients look for it.
async fn add_code<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let response = next.call(request).await?.map_into_boxed_body();
    let is_problem =
        response.headers().get(CONTENT_TYPE).is_some_and(|media_type| media_type == MEDIA_TYPE);
    if !is_problem {
        return Ok(response);
    }
    let status = response.status().as_u16();
    Ok(response.map_body(|_, body| match body.try_into_bytes() {
        Ok(bytes) => {
            let mut problem: Map<String, Value> =
                serde_json::from_slice(&bytes).unwrap_or_default();
            problem.insert("code".into(), status.into());
            BoxBody::new(Value::Object(problem).to_string())
        }
        Err(body) => body,
    }))
}
