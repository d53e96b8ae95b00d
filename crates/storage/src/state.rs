//! Whether the database can be used.

use crate::error::{Error, Reason};
use crate::pools::Pools;

/// The state of a database.
#[derive(Clone, Debug)]
pub(crate) enum State {
    /// It has not been checked yet.
    Unknown,
    /// It cannot be reached, for this reason.
    Unavailable(String),
    /// It answers, but its schema is not the one that the service needs, for this reason.
    Unmigrated(String),
    /// It can be used.
    Up(Pools),
}

impl State {
    pub(crate) fn is_up(&self) -> bool {
        matches!(self, Self::Up(_))
    }

    /// What can be used, or why nothing can.
    pub(crate) fn pools(&self) -> Result<&Pools, Error> {
        match self {
            Self::Up(pools) => Ok(pools),
            other => Err(Error::unavailable(Reason::State(other.reason()))),
        }
    }

    /// Why it is unavailable, if it is or nothing is known yet.
    pub(crate) fn why_unavailable(&self) -> Option<String> {
        matches!(self, Self::Unknown | Self::Unavailable(_)).then(|| self.reason())
    }

    /// Why its schema is not the one needed, if it is not or nothing is known yet.
    pub(crate) fn why_unmigrated(&self) -> Option<String> {
        matches!(self, Self::Unknown | Self::Unmigrated(_)).then(|| self.reason())
    }

    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Unknown => "not connected yet".into(),
            Self::Unavailable(reason) | Self::Unmigrated(reason) => reason.clone(),
            Self::Up(_) => String::new(),
        }
    }
}
