//! What can go wrong.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use common::Problem;
use hickory_resolver::net::NetError;

/// Why a request is not answered as it wishes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the name does not exist or has no A record")]
    NotFound,
    #[error("the resolver cannot be reached or fails")]
    Resolver(Arc<NetError>),
    #[error("the resolver did not answer in time")]
    ResolverTimedOut,
    #[error("too many lookups from this address")]
    TooManyLookups(Duration),
    #[error(transparent)]
    Database(#[from] storage::Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let problem = Self::of(&error);
        match error {
            Error::NotFound => problem(StatusCode::NOT_FOUND),
            // Its text has that of its own cause.
            Error::Resolver(cause) => problem(StatusCode::BAD_GATEWAY).caused_by(cause.to_string()),
            Error::ResolverTimedOut => problem(StatusCode::GATEWAY_TIMEOUT),
            Error::TooManyLookups(wait) => problem(StatusCode::TOO_MANY_REQUESTS).retry_after(wait),
            Error::Database(error) => error.into(),
        }
    }
}
