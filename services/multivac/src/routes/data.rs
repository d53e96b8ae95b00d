//! The data.

use std::time::Duration;

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, delete, get, post, put, web};
use common::{Problem, problems};
use serde::Serialize;
use server::extract::BodyProblems;
use server::reference;
use tokio::time::{Instant, sleep};
use utoipa::ToSchema;

use super::input::{Authorized, DataForm, DataParts, Datum, IdempotencyKey};
use crate::error::{Error, StoreProblems};
use crate::store::Store;

/// The answer while nothing is stored.
const INSUFFICIENT: &str = "INSUFFICIENT DATA FOR MEANINGFUL ANSWER.";

/// How long DELETE waits for a job to be stored.
const DELETE_TIMEOUT: Duration = Duration::from_secs(1);

/// How often DELETE checks for one.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

problems! {
    /// What a change may answer.
    ChangeProblems { 401: "No or wrong credentials", 403: "Sent by a page of another site" }

    /// What queueing a datum may answer.
    AddProblems: BodyProblems, ChangeProblems {
        400: "No datum, several, an empty one, or none that is UTF-8; a malformed body or key",
        415: "Neither a form nor JSON",
        422: "JSON whose `data` is no string",
        503: "The queue is full, or Redis or the SQLite file cannot be reached; `detail` says whether the datum may be queued nevertheless",
    }

    /// What deleting a datum may answer.
    DeleteProblems: ChangeProblems {
        503: "MongoDB or the SQLite file cannot be reached; the datum may be deleted nevertheless",
    }
}

/// The answer to a datum that is queued.
#[derive(Debug, Serialize, ToSchema)]
struct Updated {
    #[schema(example = "MultiVAC updated!")]
    response: &'static str,
}

/// The oldest datum, by the order of acceptance.
#[utoipa::path(
    tag = "multivac",
    responses(
        (status = 200, description = "The oldest datum, or that there is none yet",
            body = String, content_type = "text/plain", example = "INSUFFICIENT DATA FOR MEANINGFUL ANSWER."),
        StoreProblems,
    ),
)]
#[get("/multivac")]
pub(crate) async fn get_oldest(store: web::Data<dyn Store>) -> Result<String, Problem> {
    Ok(store.oldest().await?.unwrap_or_else(|| INSUFFICIENT.to_owned()))
}

/// An operation that queues a datum: POST and PUT differ in method and names alone.
macro_rules! queue_datum {
    ($(#[$doc:meta])+ $method:ident, $name:ident) => {
        $(#[$doc])+
        #[utoipa::path(
            tag = "multivac",
            security((), ("basicAuth" = [])),
            params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters, chosen by the client",
                min_length = 1, max_length = 255, pattern = "^[!-~]+$")),
            request_body(description = "The datum, not empty", content(
                (DataForm = "application/x-www-form-urlencoded"), (DataParts = "multipart/form-data"), (DataForm = "application/json"),
            )),
            responses(
                (status = 200, description = "It is queued", body = Updated,
                    headers(("location" = String, description = "The path of its job"))),
                AddProblems,
            ),
        )]
        #[$method("/multivac/data")]
        pub(crate) async fn $name(
            _: Authorized,
            IdempotencyKey(key): IdempotencyKey,
            Datum(datum): Datum,
            store: web::Data<dyn Store>,
        ) -> Result<HttpResponse, Problem> {
            let job = store.add(&datum, key.as_deref()).await?;
            Ok(HttpResponse::Ok()
                .insert_header((LOCATION, reference(&format!("/multivac/jobs/{job}"))))
                .json(Updated { response: "MultiVAC updated!" }))
        }
    };
}

queue_datum!(
    /// Queue a datum durably.
    ///
    /// A worker stores it soon after. With an `Idempotency-Key`, which is remembered for 24 hours, a repeat
    /// is answered with the same job and queues nothing.
    post, post_data
);

queue_datum!(
    /// The same as POST.
    put, put_data
);

/// Delete the oldest datum.
///
/// While nothing is stored but jobs wait, it waits for one, up to a second.
#[utoipa::path(
    tag = "multivac",
    security((), ("basicAuth" = [])),
    responses(
        (status = 200, description = "`Deleted!`, or `no such data` where there is none",
            body = String, content_type = "text/plain", example = "Deleted!"),
        DeleteProblems,
    ),
)]
#[delete("/multivac/zzz")]
pub(crate) async fn delete_oldest(
    _: Authorized,
    store: web::Data<dyn Store>,
) -> Result<&'static str, Problem> {
    let deleted = delete_or_wait(&**store).await?;
    Ok(if deleted { "Deleted!" } else { "no such data" })
}

async fn delete_or_wait(store: &dyn Store) -> Result<bool, Error> {
    let deadline = Instant::now() + DELETE_TIMEOUT;
    while !store.delete_oldest().await? {
        // Read before the store: so no job is missed that moves from the queue to the store in between.
        let waiting = store.queue().await?.length > 0;
        if store.delete_oldest().await? {
            break;
        }
        if !waiting || Instant::now() >= deadline {
            return Ok(false);
        }
        sleep(POLL_INTERVAL).await;
    }
    Ok(true)
}
