//! Faults on purpose: how an operator sets them, and what they do to requests.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use ::faults::{Fault, Faults, Rules};
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::{Error, HttpResponse, ResponseError as _, delete, get, put, web};
use bytes::Bytes;
use common::{Problem, problems};
use tokio::time::sleep;

use crate::extract::Json;

problems! {
    /// What setting rules may answer.
    RulesProblems { 400: "Malformed JSON", 415: "No JSON", 422: "Rules that are of no use" }
}

/// Which faults are injected.
///
/// The rules in force, each with the time that it has left.
#[utoipa::path(
    tag = "operations",
    responses((status = 200, description = "The rules", body = Rules)),
)]
#[get("/faults")]
pub(crate) async fn get_faults(faults: web::Data<Faults>) -> web::Json<Rules> {
    web::Json(faults.rules())
}

/// Inject these faults instead of those so far.
///
/// Each rule ends by itself after its `duration`. None survives a restart, and none reaches probes, metrics and
/// this port.
#[utoipa::path(
    tag = "operations",
    request_body = Rules,
    responses((status = 200, description = "The rules", body = Rules), RulesProblems),
)]
#[put("/faults")]
pub(crate) async fn put_faults(
    Json(rules): Json<Rules>,
    faults: web::Data<Faults>,
) -> Result<web::Json<Rules>, Problem> {
    let number = rules.rules.len();
    faults.set(rules).map_err(|invalid| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY).detail(invalid.to_string())
    })?;
    let rules = faults.rules();
    let said = serde_json::to_string(&rules.rules).unwrap_or_default();
    tracing::warn!(fault.rules = said, fault.number = number, "Faults are injected");
    Ok(web::Json(rules))
}

/// Inject none any more.
#[utoipa::path(
    tag = "operations",
    responses((status = 204, description = "There are none")),
)]
#[delete("/faults")]
pub(crate) async fn delete_faults(faults: web::Data<Faults>) -> HttpResponse {
    // No rules cannot be wrong ones.
    let _ = faults.set(Rules::default());
    tracing::warn!("Faults are no longer injected");
    HttpResponse::NoContent().finish()
}

/// What answers a request that a fault is for.
pub(crate) enum FaultTarget<F> {
    /// The handler, which has the request.
    Handler(F),
    /// The fault itself, without the handler.
    ShortCircuit(ServiceRequest),
}

/// Whether the handler is to be asked at all.
pub(crate) fn needs_handler(fault: &Fault) -> bool {
    fault.status.is_none() && !fault.drops_connection
}

/// Answers a request as the fault says.
pub(crate) async fn inject<F>(
    fault: Fault,
    target: FaultTarget<F>,
) -> Result<ServiceResponse, Error>
where
    F: Future<Output = Result<ServiceResponse, Error>>,
{
    if !fault.latency.is_zero() {
        sleep(fault.latency).await;
    }
    let response = match target {
        FaultTarget::Handler(answer) => answer.await?,
        FaultTarget::ShortCircuit(request) if fault.drops_connection => {
            // A body that fails before its first byte takes the head, which waits for it, along.
            let body =
                BrokenBody { body: BoxBody::new(()), size: BodySize::Stream, next: Next::End };
            return Ok(request.into_response(HttpResponse::Ok().body(body)));
        }
        FaultTarget::ShortCircuit(request) => {
            let status = fault.status.and_then(|status| StatusCode::from_u16(status).ok());
            let problem = Problem::new(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
            request.into_response(problem.detail("fault injection").error_response())
        }
    };
    if !fault.breaks_body {
        return Ok(response);
    }
    Ok(response.map_body(|_, body| {
        let size = body.size();
        BoxBody::new(BrokenBody { body, size, next: Next::Half })
    }))
}

/// A body that breaks off within its first part.
struct BrokenBody {
    body: BoxBody,
    size: BodySize,
    next: Next,
}

#[derive(Clone, Copy)]
enum Next {
    /// Half of the first part.
    Half,
    /// Time to send it.
    Pause,
    End,
}

impl MessageBody for BrokenBody {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        self.size
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, io::Error>>> {
        match self.next {
            Next::Half => match Pin::new(&mut self.body).poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(part))) if part.len() > 1 => {
                    self.next = Next::Pause;
                    return Poll::Ready(Some(Ok(part.slice(..part.len() / 2))));
                }
                Poll::Ready(_) => self.next = Next::End,
            },
            Next::Pause => {
                self.next = Next::End;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Next::End => {}
        }
        Poll::Ready(Some(Err(io::Error::other("fault injection: the answer breaks off"))))
    }
}
