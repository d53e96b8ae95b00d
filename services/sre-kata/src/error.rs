//! What can be wrong with a request.

use actix_web::http::StatusCode;
use common::Problem;

/// Why a text cannot be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no `param`.
    #[error("`param` is missing")]
    Missing,
    /// There are several, and no telling which is meant.
    #[error("`param` is given more than once")]
    Ambiguous,
    /// One character cannot occur twice.
    #[error("`param` must have at least two characters")]
    TooShort,
    /// The text is in no encoding that is understood here.
    #[error("the body is not valid UTF-8")]
    NotUtf8,
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = match error {
            Error::Missing | Error::Ambiguous | Error::TooShort | Error::NotUtf8 => {
                StatusCode::BAD_REQUEST
            }
        };
        Self::new(status).detail(error.to_string())
    }
}
