//! What can go wrong.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, WWW_AUTHENTICATE};
use common::{Problem, problems};

problems! {
    /// What every endpoint of the stores may answer.
    pub(crate) StoreProblems { 503: "Redis, MongoDB or the SQLite file cannot be reached; `detail` says which" }
}

/// Why a request, or a step of the worker's, is not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("Redis failed")]
    Queue(#[from] redis::RedisError),
    #[error("Redis took no job")]
    NotQueued(#[source] redis::RedisError),
    #[error(transparent)]
    Store(#[from] nosql::mongodb::Error),
    #[error(transparent)]
    Database(#[from] storage::Error),
    #[error("the queue is full")]
    QueueFull,
    #[error("there is no such job")]
    NoSuchJob,
    #[error("a user name and a password are needed")]
    Unauthorized,
    #[error("a page of another site must not change data here")]
    CrossSite,
    #[error("expected a form or JSON")]
    MediaType,
    #[error("{0}")]
    BadRequest(&'static str),
    #[error("`data` must be a string")]
    NoString,
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let problem = Self::of(&error);
        let unknown =
            |store| format!("{store} cannot be reached; whether anything was changed is not known");
        let unavailable = |detail: &str, cause: Error| {
            Self::new(StatusCode::SERVICE_UNAVAILABLE)
                .detail(detail)
                .retry_after(Duration::from_secs(1))
                .caused_by(cause)
        };
        match error {
            Error::Queue(_) => unavailable(&unknown("Redis"), error),
            Error::NotQueued(_) => {
                unavailable("Redis takes no jobs at present; nothing was queued", error)
            }
            Error::Store(_) => unavailable(&unknown("MongoDB"), error),
            Error::Database(error) => error.into(),
            Error::QueueFull => {
                problem(StatusCode::SERVICE_UNAVAILABLE).retry_after(Duration::from_secs(1))
            }
            Error::NoSuchJob => problem(StatusCode::NOT_FOUND),
            Error::Unauthorized => problem(StatusCode::UNAUTHORIZED).header(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"multivac\", charset=\"UTF-8\""),
            ),
            Error::CrossSite => problem(StatusCode::FORBIDDEN),
            Error::MediaType => problem(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Error::BadRequest(_) => problem(StatusCode::BAD_REQUEST),
            Error::NoString => problem(StatusCode::UNPROCESSABLE_ENTITY),
        }
    }
}
