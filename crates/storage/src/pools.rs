//! The connections that requests share.

use std::time::Duration;

use crate::config::Options;
use crate::error::Error;
use crate::fair::{FairPermit, FairSemaphore};
use crate::postgres::{self, PostgresConnection, Sessions};
use crate::sqlite;

/// Connections that read from SQLite, at most. Each has a thread of its own; more of them only wait for each other.
const SQLITE_READERS: usize = 4;

/// Reads that wait for a connection, at most. Each holds some 10 KiB with its request, and as many more would take
/// longer than clients wait.
const MAX_WAITING_READS: usize = 2048;

/// One pool or two, by the kind of database.
#[derive(Clone, Debug)]
pub(crate) enum Pools {
    /// SQLite has one writer at a time, and readers that it does not hold up.
    Sqlite { readers: sqlite::Connections, turns: FairSemaphore, writer: sqlite::Connections },
    /// PostgreSQL has one kind.
    Postgres { connections: postgres::Connections, turns: FairSemaphore },
}

impl Pools {
    /// Pools that connect when they have to.
    pub(crate) fn new(
        options: &Options,
        sessions: Sessions,
        max_connections: u32,
        timeout: Duration,
    ) -> Self {
        match options {
            Options::Sqlite(options) => {
                let options = sqlite::with_small_cache(options);
                let readers = SQLITE_READERS.min(max_connections as usize);
                let read_only = options.clone().pragma("query_only", "ON");
                Self::Sqlite {
                    readers: sqlite::Connections::new(read_only, readers),
                    turns: FairSemaphore::new(readers, MAX_WAITING_READS),
                    writer: sqlite::Connections::new(options, 1),
                }
            }
            Options::Postgres(options) => Self::Postgres {
                connections: postgres::Connections::new(
                    options,
                    sessions,
                    max_connections,
                    timeout,
                ),
                turns: FairSemaphore::new(max_connections as usize, MAX_WAITING_READS),
            },
        }
    }

    /// How many connections are idle, and how many in use.
    pub(crate) fn connections(&self) -> (usize, usize) {
        let (size, idle) = match self {
            Self::Sqlite { readers, writer, .. } => {
                let (readers, writers) = (readers.size_and_idle(), writer.size_and_idle());
                (readers.0 + writers.0, readers.1 + writers.1)
            }
            Self::Postgres { connections, .. } => connections.size_and_idle(),
        };
        (idle, size.saturating_sub(idle))
    }

    /// A connection that reads, which clients get in turns.
    pub(crate) async fn sqlite_reader(self) -> Result<(FairPermit, sqlite::Connection), Error> {
        match self {
            Self::Sqlite { readers, turns, .. } => {
                Ok((turns.acquire().await?, readers.acquire().await?))
            }
            Self::Postgres { .. } => Err(sqlx::Error::PoolClosed.into()),
        }
    }

    pub(crate) async fn sqlite_writer(self) -> Result<sqlite::Lease, Error> {
        match self {
            Self::Sqlite { writer, .. } => Ok(writer.lease().await?),
            Self::Postgres { .. } => Err(sqlx::Error::PoolClosed.into()),
        }
    }

    /// A connection that reads, which clients get in turns.
    pub(crate) async fn postgres_reader(self) -> Result<(FairPermit, PostgresConnection), Error> {
        match self {
            Self::Postgres { connections, turns } => {
                Ok((turns.acquire().await?, connections.reader().await?))
            }
            Self::Sqlite { .. } => Err(sqlx::Error::PoolClosed.into()),
        }
    }

    pub(crate) async fn postgres_writer(self) -> Result<PostgresConnection, Error> {
        match self {
            Self::Postgres { connections, .. } => Ok(connections.writer().await?),
            Self::Sqlite { .. } => Err(sqlx::Error::PoolClosed.into()),
        }
    }

    /// Closes what is idle now, and the rest when it comes back.
    pub(crate) async fn close(self) {
        match self {
            Self::Sqlite { readers, writer, .. } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres { connections, .. } => connections.close().await,
        }
    }
}
