//! Why the external service has given nothing.

use std::time::Duration;

use actix_web::http::StatusCode;
use common::Problem;

use crate::external::Outcome;

/// What went wrong before the external service's answer began.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It does not accept the key.
    #[error("the external service refused the key with status {0}")]
    KeyRefused(u16),
    /// It answered with something other than a 2xx.
    #[error("the external service answered with status {status}")]
    Status {
        status: u16,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// It sends us where the key must not go, or in circles.
    #[error("the external service redirects to another origin or too often")]
    Redirect(#[source] reqwest::Error),
    /// There was no connection, or none that lasted until an answer began.
    #[error("the external service cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// Its answer did not begin in time.
    #[error("the external service did not answer in time")]
    TimedOut,
}

impl Error {
    /// How it is counted.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::KeyRefused(_) => Outcome::KeyRefused,
            Self::Status { .. } => Outcome::Status,
            Self::Redirect(_) => Outcome::Redirect,
            Self::Unreachable(_) => Outcome::Unreachable,
            Self::TimedOut => Outcome::TimedOut,
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = match error {
            Error::KeyRefused(_)
            | Error::Status { .. }
            | Error::Redirect(_)
            | Error::Unreachable(_) => StatusCode::BAD_GATEWAY,
            Error::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        };
        Self::new(status).detail(error.to_string()).caused_by(error)
    }
}
