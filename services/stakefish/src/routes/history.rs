//! What was looked up.

use actix_web::http::header::LINK;
use actix_web::{HttpResponse, get, web};
use common::Problem;
use common::extract::Query;
use common::problem::ProblemDetails;
use serde::{Deserialize, Serialize};

use super::tools::SavedQuery;
use crate::error::Error;
use crate::lookup;
use crate::store::Store;

/// Which part of the history is wanted; each parameter is judged where it is needed.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// How many, 20 by default.
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100)]
    limit: Option<String>,
    /// Where the page begins, from `Link` of the one before.
    #[param(pattern = "^[1-9][0-9]{0,17}$")]
    cursor: Option<String>,
}

impl Parameters {
    fn limit(&self) -> Result<usize, Error> {
        let limit = self.limit.as_deref().map_or(Ok(20), str::parse);
        limit.ok().filter(|limit| (1..=100).contains(limit)).ok_or(Error::BadLimit)
    }

    /// The cursor is the id of the last query on the page before.
    fn before(&self) -> Result<i64, Error> {
        let before = self.cursor.as_deref().map_or(Ok(i64::MAX), str::parse);
        before.ok().filter(|&before| before > 0).ok_or(Error::BadCursor)
    }
}

/// A page of the history, as `path` shows it, with `Link` where there is another.
pub(super) async fn page<T: From<lookup::Query> + Serialize>(
    path: &str,
    parameters: &Parameters,
    store: &Store,
) -> Result<HttpResponse, Problem> {
    let (before, limit) = (parameters.before()?, parameters.limit()?);
    let mut queries = store.history(before, limit + 1).await?;
    let mut response = HttpResponse::Ok();
    if queries.len() > limit {
        queries.truncate(limit);
        let cursor = queries.last().map_or(0, |query| query.id);
        let link = format!("<{path}?limit={limit}&cursor={cursor}>; rel=\"next\"");
        response.insert_header((LINK, link));
    }
    Ok(response.json(queries.into_iter().map(T::from).collect::<Vec<_>>()))
}

/// List the saved lookups, newest first.
#[utoipa::path(
    tag = "stakefish",
    params(Parameters),
    responses(
        (status = 200, description = "A page of the list", body = Vec<SavedQuery>,
            headers(("link" = String, description = "The next page, if there is one: `<...>; rel=\"next\"`"))),
        (status = "4XX", description = "A bad `limit` or `cursor`", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
#[get("/history")]
pub(crate) async fn get_history(
    Query(parameters): Query<Parameters>,
    store: web::Data<Store>,
) -> Result<HttpResponse, Problem> {
    page::<SavedQuery>("/history", &parameters, &store).await
}
