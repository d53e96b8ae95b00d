//! What can go wrong.

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, WWW_AUTHENTICATE};
use common::Problem;
use serde_json::{Map, Value, json};

/// Why a request is not answered as it wishes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("`word` is missing or empty")]
    MissingWord,
    /// What is wrong with each member of the body, for the original's clients.
    #[error("the body is not as it should be")]
    Invalid(Map<String, Value>),
    #[error("there is no such word")]
    NotFound,
    #[error("`Authorization: Bearer <token>` is missing, wrong or has expired")]
    Unauthorized(#[source] Option<jsonwebtoken::errors::Error>),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let problem = Self::of(&error);
        match error {
            Error::MissingWord => problem(StatusCode::BAD_REQUEST),
            Error::Invalid(members) => problem(StatusCode::UNPROCESSABLE_ENTITY)
                .member("errors", json!({ "json": members })),
            Error::NotFound => problem(StatusCode::NOT_FOUND),
            Error::Unauthorized(cause) => {
                let problem = problem(StatusCode::UNAUTHORIZED)
                    .header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                cause.into_iter().fold(problem, Self::caused_by)
            }
        }
    }
}
