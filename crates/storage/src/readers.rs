//! Connections that read from SQLite.

use deadpool::managed::{Manager, Metrics, Object, Pool, PoolError, RecycleResult};
use sqlx::ConnectOptions as _;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteConnectOptions;

/// A pool that gives a connection back as it is. The one of sqlx asks each connection whether it lives when
/// it comes back, which for SQLite costs as much as a read by key: two changes of threads.
#[derive(Clone, Debug)]
pub(crate) struct Readers(Pool<Connector>);

#[derive(Debug)]
struct Connector(SqliteConnectOptions);

impl Manager for Connector {
    type Type = SqliteConnection;
    type Error = sqlx::Error;

    async fn create(&self) -> sqlx::Result<SqliteConnection> {
        self.0.connect().await
    }

    async fn recycle(&self, _: &mut SqliteConnection, _: &Metrics) -> RecycleResult<sqlx::Error> {
        Ok(())
    }
}

impl Readers {
    /// A pool that connects when it has to.
    pub(crate) fn new(options: SqliteConnectOptions, most: usize) -> Self {
        // It fails only where time-outs are set without a runtime.
        let pool = Pool::builder(Connector(options.pragma("query_only", "ON"))).max_size(most);
        Self(pool.build().unwrap_or_else(|_| unreachable!("no time-outs are set")))
    }

    pub(crate) async fn acquire(
        &self,
    ) -> sqlx::Result<Object<impl Manager<Type = SqliteConnection>>> {
        self.0.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error,
            _ => sqlx::Error::PoolClosed,
        })
    }

    /// How many connections there are, and how many of them are idle.
    pub(crate) fn size_and_idle(&self) -> (usize, usize) {
        let status = self.0.status();
        (status.size, status.available.min(status.size))
    }

    pub(crate) fn close(&self) {
        self.0.close();
    }
}
