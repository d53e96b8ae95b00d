//! The state of the queue.

use actix_web::{get, web};
use common::Problem;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::StoreProblems;
use crate::store::{QueueState, Store};

/// The queue and the store.
#[derive(Debug, Serialize, ToSchema)]
struct QueueDetails {
    /// Jobs that wait.
    length: u64,
    /// How long the oldest of them has waited.
    #[schema(example = 0.25)]
    oldest_age_seconds: f64,
    /// Jobs that the store has refused too often.
    dead_letters: u64,
    /// Data there are, roughly if there are many.
    stored: u64,
}

/// The state of the queue.
#[utoipa::path(
    tag = "multivac",
    responses(
        (status = 200, description = "The queue", body = QueueDetails),
        StoreProblems,
    ),
)]
#[get("/multivac/queue")]
pub(crate) async fn get_queue(
    store: web::Data<dyn Store>,
) -> Result<web::Json<QueueDetails>, Problem> {
    let (queue, stored) = store.queue_and_stored().await?;
    let QueueState { length, oldest_age, dead_letters } = queue;
    let oldest_age_seconds = oldest_age.as_secs_f64();
    Ok(web::Json(QueueDetails { length, oldest_age_seconds, dead_letters, stored }))
}
