//! The welcome.

use actix_web::get;

/// A welcome.
#[utoipa::path(
    tag = "multivac",
    operation_id = "get_home",
    responses((status = 200, description = "A welcome",
        body = String, content_type = "text/plain", example = "Welcome to MultiVAC!")),
)]
#[get("/")]
pub(crate) async fn get_home() -> &'static str {
    "Welcome to MultiVAC!"
}
