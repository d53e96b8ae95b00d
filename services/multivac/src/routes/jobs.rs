//! What became of a datum.

use actix_web::{get, web};
use common::{Problem, problems};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::{Error, StoreProblems};
use crate::store::{Status, Store};

problems! {
    /// What a job may answer.
    JobProblems: StoreProblems { 404: "No such job" }
}

/// A job.
#[derive(Debug, Serialize, ToSchema)]
struct JobDetails {
    #[schema(example = "1715590067000-0")]
    id: String,
    status: Status,
    /// How often the store has refused it.
    attempts: u32,
}

/// What became of a datum.
///
/// A job whose datum was deleted is known for `TOMBSTONE_TTL` more.
#[utoipa::path(
    tag = "multivac",
    params(("id" = String, Path, description = "The job's id, from `Location`", example = "1715590067000-0")),
    responses(
        (status = 200, description = "The job", body = JobDetails),
        JobProblems,
    ),
)]
#[get("/multivac/jobs/{id}")]
pub(crate) async fn get_job(
    id: web::Path<String>,
    store: web::Data<dyn Store>,
) -> Result<web::Json<JobDetails>, Problem> {
    let id = id.into_inner();
    let job = store.job(&id).await?.ok_or(Error::NoSuchJob)?;
    Ok(web::Json(JobDetails { id, status: job.status, attempts: job.attempts }))
}
