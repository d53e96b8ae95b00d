//! What a client may send.

use std::ops::Range;

use actix_web::{HttpRequest, web};
use common::config::Secret;
use common::secrets::Reloadable;
use serde::Deserialize;
use server::extract::bearer_token;

use crate::error::Error;
use crate::log_files::Stamp;

/// A client that has the key, or any if there is none to have.
#[derive(Debug)]
pub(super) struct Authorized;

server::from_head!(Authorized, authorize);

fn authorize(request: &HttpRequest) -> Result<Authorized, Error> {
    let keys = request.app_data::<web::Data<Option<Reloadable<Secret>>>>();
    let authorized = keys.is_some_and(|keys| match &***keys {
        Some(keys) => {
            bearer_token(request).is_some_and(|token| keys.get().accepts(token.as_bytes()))
        }
        None => true,
    });
    authorized.then_some(Authorized).ok_or(Error::Unauthorized)
}

/// Which files a client wants; each part is judged where it is needed.
#[derive(Debug, Deserialize)]
pub(super) struct Parameters {
    limit: Option<String>,
    cursor: Option<String>,
    since: Option<String>,
}

impl Parameters {
    pub(super) fn limit(&self) -> Result<usize, Error> {
        let limit = self.limit.as_deref().map_or(Ok(100), str::parse);
        limit.ok().filter(|limit| (1..=1000).contains(limit)).ok_or(Error::BadLimit)
    }

    pub(super) fn since(&self) -> Result<Stamp, Error> {
        let since = self.since.as_deref().map_or(Some(Stamp::FIRST), Stamp::parse_rfc3339);
        since.ok_or(Error::BadSince)
    }

    /// The cursor is the name of the last file on the page before.
    pub(super) fn range(&self) -> Result<Range<Stamp>, Error> {
        // Many clients send an empty one for the first page.
        let cursor = self.cursor.as_deref().filter(|cursor| !cursor.is_empty());
        let end = cursor.map_or(Ok(Stamp::LAST), str::parse);
        Ok(self.since()?..end.map_err(|()| Error::BadCursor)?)
    }
}

/// The header that says where a list goes on (RFC 8288).
pub(super) fn link(rest: &Range<Stamp>, limit: usize) -> String {
    let since = match rest.start {
        Stamp::FIRST => String::new(),
        since => format!("&since={}", since.rfc3339()),
    };
    // Of the same path, whatever a proxy has before it.
    format!("<?limit={limit}{since}&cursor={}>; rel=\"next\"", rest.end)
}
