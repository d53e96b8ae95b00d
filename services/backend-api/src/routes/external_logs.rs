//! What the external service has.

use actix_web::body::{BodyStream, SizedStream};
use actix_web::get;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_TYPE};
use actix_web::mime::TEXT_PLAIN_UTF_8;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use common::{Problem, problems};
use server::extract::take_memory;

use crate::external::{Answer, External};

/// What a download takes beside what every answer does: the client of the external service reads up to 400 KiB ahead
/// of one that is slow, and has as much under way.
const DOWNLOAD_BYTES: usize = 1024 * 1024;

problems! {
    /// What the external service can be to blame for.
    ExternalProblems {
        502: "The external service refused the key, answered with something other than a 2xx, redirects elsewhere, or cannot be reached",
        504: "The external service did not answer in time",
    }
}

/// Download what the external service has.
///
/// The body is handed through as it arrives, with the external service's 2xx status, `Content-Type`,
/// `Content-Encoding` and `Content-Disposition`. One that breaks off ends the connection. Where no external
/// service is configured, a sentence says that the key for it is set.
#[utoipa::path(
    tag = "backend-api",
    responses(
        (status = 200, description = "What the external service answers, or that none is configured", content(
            (String = "text/plain", example = "download_external_logs works! EXTERNAL_INTEGRATION_API_KEY is set"),
            (String = "*/*"),
        )),
        ExternalProblems,
    ),
)]
#[get("/download_external_logs")]
pub(crate) async fn get_external_logs(
    external: Data<External>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    take_memory(&request, DOWNLOAD_BYTES)?;
    match external.get().await? {
        Some(answer) => hand_through(answer),
        None => Ok(HttpResponse::Ok()
            .content_type(TEXT_PLAIN_UTF_8)
            .body("download_external_logs works! EXTERNAL_INTEGRATION_API_KEY is set")),
    }
}

fn hand_through(answer: Answer) -> Result<HttpResponse, Problem> {
    // The two sides speak of HTTP in types of different versions.
    let status = StatusCode::from_u16(answer.status()).map_err(Problem::internal)?;
    let mut response = HttpResponse::build(status);
    for name in [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_DISPOSITION] {
        for value in answer.header(name.as_str()) {
            response.append_header((name.clone(), value));
        }
    }
    Ok(match answer.length() {
        Some(length) => response.body(SizedStream::new(length, answer.into_stream())),
        None => response.body(BodyStream::new(answer.into_stream())),
    })
}
