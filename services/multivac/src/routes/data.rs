//! The data.

use std::time::Duration;

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, delete, get, post, put, web};
use common::{Problem, problem::ProblemDetails};
use serde::Serialize;
use tokio::time::{Instant, sleep};
use utoipa::ToSchema;

use super::input::{Authorized, DataForm, DataParts, Datum, IdempotencyKey};
use crate::error::Error;
use crate::store::Store;

/// What is answered while nothing is stored.
const INSUFFICIENT: &str = "INSUFFICIENT DATA FOR MEANINGFUL ANSWER.";

/// How long DELETE waits for a job to be stored.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long it waits between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// That a datum is queued.
#[derive(Debug, Serialize, ToSchema)]
struct Updated {
    #[schema(example = "MultiVAC updated!")]
    response: &'static str,
}

/// The oldest datum, by the order of acceptance.
#[utoipa::path(
    tag = "multivac",
    operation_id = "get_oldest",
    responses(
        (status = 200, description = "The oldest datum, or that there is none yet",
            body = String, content_type = "text/plain", example = "INSUFFICIENT DATA FOR MEANINGFUL ANSWER."),
        (status = 503, description = "The store cannot be reached", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
#[get("/multivac")]
pub(crate) async fn get_oldest(store: web::Data<dyn Store>) -> Result<String, Problem> {
    Ok(store.oldest().await?.unwrap_or_else(|| INSUFFICIENT.to_owned()))
}

/// An operation that queues a datum. There are two, alike but for the method and the names.
macro_rules! queue_datum {
    ($(#[$doc:meta])+ $method:ident, $name:ident, $id:tt) => {
        $(#[$doc])+
        #[utoipa::path(
            tag = "multivac",
            operation_id = $id,
            security((), ("basicAuth" = [])),
            params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters, chosen by the client",
                min_length = 1, max_length = 255, pattern = "^[!-~]+$")),
            request_body(description = "The datum, not empty", content(
                (DataForm = "application/x-www-form-urlencoded"), (DataParts = "multipart/form-data"), (DataForm = "application/json"),
            )),
            responses(
                (status = 200, description = "It is queued", body = Updated,
                    headers(("location" = String, description = "The path of its job"))),
                (status = 400, description = "No datum, several, an empty one, or none that is UTF-8; a broken body; a bad key",
                    body = ProblemDetails, content_type = "application/problem+json"),
                (status = 401, description = "No or wrong credentials", body = ProblemDetails, content_type = "application/problem+json"),
                (status = 403, description = "Sent by a page of another site", body = ProblemDetails, content_type = "application/problem+json"),
                (status = 408, description = "The body came too slowly", body = ProblemDetails, content_type = "application/problem+json"),
                (status = 413, description = "The body is too large", body = ProblemDetails, content_type = "application/problem+json"),
                (status = 415, description = "Neither a form nor JSON", body = ProblemDetails, content_type = "application/problem+json"),
                (status = 422, description = "JSON whose `data` is no string", body = ProblemDetails, content_type = "application/problem+json"),
                (status = 503, description = "The queue is full or cannot be reached; in the second case the datum may be queued nevertheless",
                    body = ProblemDetails, content_type = "application/problem+json"),
            ),
        )]
        #[$method("/multivac/data")]
        pub(crate) async fn $name(
            _: Authorized,
            IdempotencyKey(key): IdempotencyKey,
            Datum(datum): Datum,
            store: web::Data<dyn Store>,
        ) -> Result<HttpResponse, Problem> {
            let job = store.accept(&datum, key.as_deref()).await?;
            Ok(HttpResponse::Ok()
                .insert_header((LOCATION, format!("/multivac/jobs/{job}")))
                .json(Updated { response: "MultiVAC updated!" }))
        }
    };
}

queue_datum!(
    /// Queue a datum durably.
    ///
    /// A worker stores it soon after. With an `Idempotency-Key`, which is remembered for 24 hours, a repeat
    /// is answered with the same job and queues nothing.
    post, post_data, "post_data"
);

queue_datum!(
    /// The same as POST.
    put, put_data, "put_data"
);

/// Delete the oldest datum.
///
/// While nothing is stored but jobs wait, it waits for one, up to a second.
#[utoipa::path(
    tag = "multivac",
    operation_id = "delete_oldest",
    security((), ("basicAuth" = [])),
    responses(
        (status = 200, description = "`Deleted!`, or `no such data` where there is none",
            body = String, content_type = "text/plain", example = "Deleted!"),
        (status = 401, description = "No or wrong credentials", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 403, description = "Sent by a page of another site", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "A store cannot be reached; the datum may be deleted nevertheless",
            body = ProblemDetails, content_type = "application/problem+json"),
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
    let deadline = Instant::now() + PATIENCE;
    while !store.delete_oldest().await? {
        // Asked before the store is: a job is not missed that goes from one to the other meanwhile.
        let waiting = store.queue().await?.length > 0;
        if store.delete_oldest().await? {
            break;
        }
        if !waiting || Instant::now() >= deadline {
            return Ok(false);
        }
        sleep(LOOK).await;
    }
    Ok(true)
}
