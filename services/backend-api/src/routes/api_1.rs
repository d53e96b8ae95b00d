//! The operation.

use actix_web::get;
use actix_web::web::Data;

use crate::config::OperationConfig;
use crate::operation::Operation;

/// Run an operation and tell how it ended.
///
/// It takes `OPERATION_DELAY` and ends in one of three ways, evenly at random.
#[utoipa::path(
    tag = "backend-api",
    responses((status = 200, description = "How it ended: `completed: Success`, `completed: Created` or `completed: Failed`",
        body = String, content_type = "text/plain", example = "completed: Success")),
)]
#[get("/api_1")]
pub(crate) async fn get_api_1(config: Data<OperationConfig>) -> String {
    let operation = Operation::random();
    tracing::info!("Operation log: {operation}");
    tokio::time::sleep(config.operation_delay).await;
    format!("completed: {operation}")
}
