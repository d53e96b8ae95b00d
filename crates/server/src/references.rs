//! What an answer refers to, and which form a client prefers.

use actix_web::HttpRequest;
use actix_web::http::header::{Accept, Header as _};
use common::context::RequestContext;

/// A path of this service as a reference that is relative to the request in progress (RFC 3986, 4.2): it leads to the
/// right place also where a proxy has taken a prefix from the path.
///
/// ```
/// // Outside of a request it stays as it is.
/// assert_eq!(server::reference("/words/7"), "/words/7");
/// ```
#[must_use]
pub fn reference(path: &str) -> String {
    let upwards = RequestContext::with_current(|context| {
        // As the client wrote it: a slash at the end is one more folder.
        context.uri().path().matches('/').count().saturating_sub(1)
    });
    match upwards {
        Some(0) => format!("./{}", path.trim_start_matches('/')),
        Some(folders) => "../".repeat(folders) + path.trim_start_matches('/'),
        None => path.to_owned(),
    }
}

/// Whether HTML is what the client likes best; one that takes anything does not. An answer that depends on it says
/// `Vary: Accept`.
#[must_use]
pub fn prefers_html(request: &HttpRequest) -> bool {
    let best = Accept::parse(request).ok().and_then(|accept| accept.ranked().into_iter().next());
    best.is_some_and(|best| best.essence_str() == mime::TEXT_HTML.essence_str())
}
