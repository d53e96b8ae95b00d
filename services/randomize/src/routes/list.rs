//! What the lists have in common: the latest first, a page at a time.

use actix_web::http::header::LINK;
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::Deserialize;

use crate::error::Error;

/// The most that a page has.
const MAX_LIMIT: i64 = 100;

/// Which page a client wants; each part is judged where it is needed.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    limit: Option<String>,
    cursor: Option<String>,
}

impl Page {
    /// How many rows, `default` if the client does not say.
    pub(super) fn limit(&self, default: i64) -> Result<i64, Error> {
        let limit = self.limit.as_deref().map_or(Ok(default), str::parse);
        limit.ok().filter(|limit| (1..=MAX_LIMIT).contains(limit)).ok_or(Error::BadLimit)
    }

    /// The id below which the page begins.
    pub(super) fn before(&self) -> Result<i64, Error> {
        let Some(cursor) = &self.cursor else { return Ok(i64::MAX) };
        // Opaque to clients: an id in hexadecimal.
        let id = i64::from_str_radix(cursor, 16).ok().filter(|id| *id > 0);
        id.filter(|id| format!("{id:x}") == *cursor).ok_or(Error::BadCursor)
    }
}

/// Begins the answer with a page of rows. One row more than `limit` says that the list goes on, which a
/// header then says to the client (RFC 8288).
pub(super) fn begin<T>(
    path: &str,
    limit: i64,
    rows: &mut Vec<T>,
    id: fn(&T) -> i64,
) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    let goes_on = usize::try_from(limit).is_ok_and(|limit| rows.len() > limit);
    if goes_on && rows.pop().is_some() {
        let last = rows.last().map_or(0, id);
        let next = format!("<{path}?limit={limit}&cursor={last:x}>; rel=\"next\"");
        response.insert_header((LINK, next));
    }
    response
}
