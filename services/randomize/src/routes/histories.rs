//! The audit trail, for those who may see it.

use actix_web::{HttpRequest, HttpResponse, get, web};
use common::secrets::Reloadable;
use common::{Problem, problems};
use server::extract::{Pagination, PaginationProblems, bearer_token};
use storage::ReadProblems;

use crate::error::Error;
use crate::store::{History, Store};
use crate::token::Tokens;

/// A client with a valid token, or any if there is no secret.
#[derive(Debug)]
pub(super) struct Authorized;

server::from_head!(Authorized, authorize);

fn authorize(request: &HttpRequest) -> Result<Authorized, Error> {
    let Some(tokens) = request.app_data::<web::Data<Reloadable<Tokens>>>() else {
        return Ok(Authorized);
    };
    let token = bearer_token(request).ok_or(Error::Unauthorized(None))?;
    tokens.get().check(token).map_err(|cause| Error::Unauthorized(Some(cause)))?;
    Ok(Authorized)
}

problems! {
    /// What the audit trail may answer.
    HistoriesProblems: PaginationProblems, ReadProblems { 401: "No valid token" }
}

/// The latest requests for words, the oldest of them first.
///
/// Every request under `/api/randomizes` leaves one row, failed ones, too. With `JWT_SECRET` set, this
/// needs a token.
#[utoipa::path(
    tag = "randomize",
    security((), ("bearerAuth" = [])),
    params(Pagination<10>),
    responses(
        (status = 200, description = "The rows", body = Vec<History>,
            headers(("link" = String, description = "Those before them, if there are any: `<...>; rel=\"next\"`"))),
        HistoriesProblems,
    ),
)]
#[get("/histories")]
pub(super) async fn get_histories(
    _: Authorized,
    page: Pagination<10>,
    store: web::Data<Store>,
) -> Result<HttpResponse, Problem> {
    let mut histories = store.histories(page.below(), page.rows()).await?;
    let mut response = page.begin(&mut histories, |row| row.id);
    histories.reverse();
    Ok(response.json(histories))
}
