//! The liveness endpoint of the original program.

use actix_web::get;

/// Whether the process lives, as the original program answers it.
#[utoipa::path(
    tag = "operations",
    responses((status = 200, description = "It lives", body = String, content_type = "text/plain", example = "healthy")),
)]
#[get("/health_check")]
pub(crate) async fn get_health_check() -> &'static str {
    "healthy"
}
