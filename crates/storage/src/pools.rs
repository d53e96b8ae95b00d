//! The connections that requests share.

use std::time::Duration;

use crate::config::Options;
use crate::postgres::{self, Sessions};
use crate::sqlite;

/// Connections that read from SQLite, at most. Each has a thread of its own; more of them only wait for each other.
const SQLITE_READERS: usize = 4;

/// One pool or two, by the kind of database.
#[derive(Clone, Debug)]
pub(crate) enum Pools {
    /// SQLite has one writer at a time, and readers that it does not hold up.
    Sqlite { readers: sqlite::Connections, writer: sqlite::Connections },
    /// PostgreSQL has one kind.
    Postgres(postgres::Connections),
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
                    writer: sqlite::Connections::new(options, 1),
                }
            }
            Options::Postgres(options) => Self::Postgres(postgres::Connections::new(
                options,
                sessions,
                max_connections,
                timeout,
            )),
        }
    }

    /// How many connections are idle, and how many in use.
    pub(crate) fn connections(&self) -> (usize, usize) {
        let (size, idle) = match self {
            Self::Sqlite { readers, writer } => {
                let (readers, writers) = (readers.size_and_idle(), writer.size_and_idle());
                (readers.0 + writers.0, readers.1 + writers.1)
            }
            Self::Postgres(pool) => pool.size_and_idle(),
        };
        (idle, size.saturating_sub(idle))
    }

    pub(crate) async fn sqlite_reader(self) -> sqlx::Result<sqlite::Connection> {
        match self {
            Self::Sqlite { readers, .. } => readers.acquire().await,
            Self::Postgres(_) => Err(sqlx::Error::PoolClosed),
        }
    }

    pub(crate) async fn sqlite_writer(self) -> sqlx::Result<sqlite::Lease> {
        match self {
            Self::Sqlite { writer, .. } => writer.lease().await,
            Self::Postgres(_) => Err(sqlx::Error::PoolClosed),
        }
    }

    pub(crate) async fn postgres_reader(self) -> sqlx::Result<postgres::PostgresConnection> {
        match self {
            Self::Postgres(pool) => pool.reader().await,
            Self::Sqlite { .. } => Err(sqlx::Error::PoolClosed),
        }
    }

    pub(crate) async fn postgres_writer(self) -> sqlx::Result<postgres::PostgresConnection> {
        match self {
            Self::Postgres(pool) => pool.writer().await,
            Self::Sqlite { .. } => Err(sqlx::Error::PoolClosed),
        }
    }

    /// Closes what is idle now, and the rest when it comes back.
    pub(crate) async fn close(self) {
        match self {
            Self::Sqlite { readers, writer } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}
