//! What can go wrong.

use std::io;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, WWW_AUTHENTICATE};
use common::Problem;
use rustix::io::Errno;

/// What says that a directory belongs to another process.
pub(crate) const IN_USE: Errno = Errno::BUSY;

/// Why a request is not answered as it wishes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the log volume cannot be written")]
    NotWritten(#[source] Errno),
    #[error("the log volume cannot be read")]
    NotRead(#[source] io::Error),
    #[error("another process has the log volume")]
    InUse,
    #[error("the log files are still being listed")]
    Loading,
    #[error("there is no such log file")]
    NotFound,
    #[error("`Authorization: Bearer <key>` is missing or wrong")]
    Unauthorized,
    #[error("`limit` must be a number from 1 to 1000")]
    BadLimit,
    #[error("`cursor` must come from the header `Link` of a page")]
    BadCursor,
    #[error("`since` must be a time by RFC 3339, its `+` written as `%2B`")]
    BadSince,
}

impl Error {
    /// Of a directory that cannot be opened.
    pub(crate) fn not_read(error: io::Error) -> Self {
        if Errno::from_io_error(&error) == Some(IN_USE) {
            Self::InUse
        } else {
            Self::NotRead(error)
        }
    }

    /// Of a file that cannot be written.
    pub(crate) fn not_written(error: Errno) -> Self {
        if error == IN_USE { Self::InUse } else { Self::NotWritten(error) }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let problem = Self::of(&error);
        match error {
            Error::NotWritten(cause) => problem(StatusCode::INSUFFICIENT_STORAGE).caused_by(cause),
            Error::NotRead(cause) => problem(StatusCode::SERVICE_UNAVAILABLE).caused_by(cause),
            Error::Loading | Error::InUse => {
                problem(StatusCode::SERVICE_UNAVAILABLE).retry_after(Duration::from_secs(1))
            }
            Error::NotFound => problem(StatusCode::NOT_FOUND),
            Error::Unauthorized => problem(StatusCode::UNAUTHORIZED)
                .header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
            Error::BadLimit | Error::BadCursor | Error::BadSince => {
                problem(StatusCode::UNPROCESSABLE_ENTITY)
            }
        }
    }
}
