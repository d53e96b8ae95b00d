//! What was looked up.

use actix_web::{HttpResponse, get, web};
use common::{Problem, problems};
use serde::Serialize;
use server::extract::Pagination;
use storage::ReadProblems;

use super::tools::SavedQuery;
use crate::store::{Query, Store};

problems! {
    /// What the history may answer.
    HistoryProblems: ReadProblems { 4XX: "A bad `limit` or `cursor`" }
}

/// A page of the history, in the shape of one of the two APIs.
pub(super) async fn answer<T: From<Query> + Serialize>(
    page: Pagination<20>,
    store: &Store,
) -> Result<HttpResponse, Problem> {
    let mut queries = store.history(page.below(), page.rows()).await?;
    let mut response = page.begin(&mut queries, |query| query.id);
    Ok(response.json(queries.into_iter().map(T::from).collect::<Vec<_>>()))
}

/// List the saved lookups, newest first.
#[utoipa::path(
    tag = "stakefish",
    params(Pagination<20>),
    responses(
        (status = 200, description = "A page of the list", body = Vec<SavedQuery>,
            headers(("link" = String, description = "The next page, if there is one: `<...>; rel=\"next\"`"))),
        HistoryProblems,
    ),
)]
#[get("/history")]
pub(crate) async fn get_history(
    page: Pagination<20>,
    store: web::Data<Store>,
) -> Result<HttpResponse, Problem> {
    answer::<SavedQuery>(page, &store).await
}
