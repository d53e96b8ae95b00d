//! The service's own endpoints.

use actix_web::{post, web};
use server::extract::{BodyProblems, Json};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::greeting::{Greeter, Guest};

/// Lists the handlers.
pub(crate) fn configure(config: &mut ServiceConfig<'_>) {
    config.service(post_greeting);
}

/// Greet a guest.
#[utoipa::path(
    tag = "greeter",
    request_body = Guest,
    responses(
        (status = 200, description = "The greeting", body = String, content_type = "text/plain"),
        BodyProblems,
    ),
)]
#[post("/greetings")]
async fn post_greeting(Json(guest): Json<Guest>, greeter: web::Data<Greeter>) -> String {
    greeter.greet(&guest)
}
