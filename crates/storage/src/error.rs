//! What can go wrong with a database.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use common::{Problem, problems};

use crate::fair::TooManyWaiting;

problems! {
    /// What an endpoint that reads may answer.
    pub ReadProblems { 503: "The database is unavailable" }

    /// What an endpoint that writes may answer.
    pub WriteProblems: ReadProblems { 507: "The database's disk is full" }
}

/// Any error, for whoever only passes it on.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// When a client may try again where the database is unavailable.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why the database did not do what a request needs; the requests of a batch share one.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be reached, or a migration is pending: nothing was stored.
    #[error("the database is not available")]
    Unavailable(#[source] Arc<Reason>),
    /// It did not answer within `DATABASE_TIMEOUT`; what was to be stored may have been.
    #[error("the database did not answer in time")]
    TimedOut,
    /// More is to be read or written than it keeps up with: nothing was stored.
    #[error("the database does not keep up")]
    Overloaded,
    /// The connection broke during the commit: nobody knows whether it was stored.
    #[error("the connection to the database broke during a commit")]
    OutcomeUnknown(#[source] Arc<sqlx::Error>),
    /// Its disk is full or cannot be written: nothing was stored.
    #[error("the database cannot be written")]
    Full(#[source] Arc<sqlx::Error>),
    /// It refused the statement: a defect of the service, or of the database.
    #[error("the database refused a statement")]
    Refused(#[source] Arc<sqlx::Error>),
}

/// Why the database is not available.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// A connection broke or could not be made.
    #[error("no connection")]
    Connection(#[from] sqlx::Error),
    /// It has been found to be unavailable, for the reason that was logged then.
    #[error("{0}")]
    State(String),
}

impl Error {
    pub(crate) fn unavailable(reason: impl Into<Reason>) -> Self {
        Self::Unavailable(Arc::new(reason.into()))
    }

    /// A connection that breaks during the commit may have broken before it or after it.
    pub(crate) fn at_commit(error: sqlx::Error) -> Self {
        match Class::of(&error) {
            Class::Connection => Self::OutcomeUnknown(Arc::new(error)),
            _ => error.into(),
        }
    }

    /// By the semantic conventions: the database's own code, if it gave one, and a word where it did not.
    pub(crate) fn types(&self) -> (Option<String>, &'static str) {
        let code = |error: &sqlx::Error| match error {
            sqlx::Error::Database(error) => error.code().map(Cow::into_owned),
            _ => None,
        };
        match self {
            Self::Unavailable(reason) => match &**reason {
                Reason::Connection(error) => (code(error), "no_connection"),
                Reason::State(_) => (None, "unavailable"),
            },
            Self::TimedOut => (None, "timeout"),
            Self::Overloaded => (None, "overloaded"),
            Self::OutcomeUnknown(error) => (code(error), "outcome_unknown"),
            Self::Full(error) => (code(error), "not_writable"),
            Self::Refused(error) => (code(error), "refused"),
        }
    }

    /// Of the connection that an operation was to have.
    pub(crate) fn connection_error(&self) -> Option<&sqlx::Error> {
        let Self::Unavailable(reason) = self else { return None };
        match &**reason {
            Reason::Connection(error) => Some(error),
            Reason::State(_) => None,
        }
    }

    /// Whether the database, and not the statement, is at fault.
    #[must_use]
    pub fn is_of_the_database(&self) -> bool {
        !matches!(self, Self::Refused(_))
    }
}

impl From<TooManyWaiting> for Error {
    fn from(_: TooManyWaiting) -> Self {
        Self::Overloaded
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match Class::of(&error) {
            Class::Connection => Self::unavailable(error),
            Class::TimedOut => Self::TimedOut,
            Class::Full => Self::Full(Arc::new(error)),
            Class::Statement => Self::Refused(Arc::new(error)),
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let unavailable = |detail: &str| {
            Self::new(StatusCode::SERVICE_UNAVAILABLE).detail(detail).retry_after(RETRY_AFTER)
        };
        match &error {
            Error::Unavailable(_) | Error::Overloaded => {
                unavailable("the database is not available").caused_by(error)
            }
            Error::TimedOut | Error::OutcomeUnknown(_) => unavailable(
                "the database did not answer; what was to be stored may have been or not",
            )
            .caused_by(error),
            Error::Full(_) => Self::new(StatusCode::INSUFFICIENT_STORAGE)
                .detail("the database cannot be written")
                .caused_by(error),
            Error::Refused(_) => Self::internal(error),
        }
    }
}

/// Whether the database, and not the statement, is at fault.
pub(crate) fn is_of_the_database(error: &sqlx::Error) -> bool {
    Class::of(error) != Class::Statement
}

/// Whether another attempt may get a connection: the pool was replaced by one with other credentials, or the server
/// refuses those that are in use.
pub(crate) fn is_of_credentials(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolClosed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| code.starts_with("28")),
        _ => false,
    }
}

/// What is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Connection,
    TimedOut,
    Full,
    Statement,
}

impl Class {
    fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Connection,
            sqlx::Error::Database(error) => {
                let code = error.code().unwrap_or_default();
                let postgres = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>();
                if postgres.is_some() { Self::of_sqlstate(&code) } else { Self::of_sqlite(&code) }
            }
            _ => Self::Statement,
        }
    }

    /// By the codes of <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
    fn of_sqlstate(code: &str) -> Self {
        match code {
            // A statement of ours that went over its time, or waited too long for a lock.
            "57014" | "55P03" => Self::TimedOut,
            "53100" => Self::Full,
            // A connection exception, too many connections, a shutdown or start in progress, a
            // server that has become a replica, a password that is just being changed.
            _ if code.starts_with("08")
                || code.starts_with("53")
                || code.starts_with("57P")
                || code.starts_with("28")
                || code == "25006" =>
            {
                Self::Connection
            }
            _ => Self::Statement,
        }
    }

    /// By the codes of <https://www.sqlite.org/rescode.html>; the low byte is the primary one.
    fn of_sqlite(code: &str) -> Self {
        match code.parse::<u32>().map(|code| code & 0xff) {
            // SQLITE_BUSY and SQLITE_LOCKED, after busy_timeout.
            Ok(5 | 6) => Self::TimedOut,
            // SQLITE_READONLY and SQLITE_FULL.
            Ok(8 | 13) => Self::Full,
            // SQLITE_IOERR and SQLITE_CANTOPEN.
            Ok(10 | 14) => Self::Connection,
            _ => Self::Statement,
        }
    }
}
