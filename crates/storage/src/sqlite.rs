//! Connections to SQLite.

use std::ops::{Deref, DerefMut};

use deadpool::managed::{Manager, Metrics, Object, Pool, PoolError, RecycleResult};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

/// A connection that goes back to its pool.
pub(crate) type Connection = Object<Connector>;

/// A page cache, in KiB: of each connection, whose pages the kernel caches as well.
const CACHE_SIZE: &str = "-512";

/// The options of all connections, with a page cache that suits a service.
pub(crate) fn with_small_cache(options: &SqliteConnectOptions) -> SqliteConnectOptions {
    options.clone().pragma("cache_size", CACHE_SIZE)
}

/// A pool that gives a connection back as it is. The one of sqlx asks each connection whether it lives when
/// it comes back, which for SQLite costs as much as a read by key: two changes of threads.
#[derive(Clone, Debug)]
pub(crate) struct Connections(Pool<Connector>);

#[derive(Debug)]
pub(crate) struct Connector(SqliteConnectOptions);

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

impl Connections {
    /// A pool that connects when it has to.
    pub(crate) fn new(options: SqliteConnectOptions, most: usize) -> Self {
        // It fails only where time-outs are set without a runtime.
        let pool = Pool::builder(Connector(options)).max_size(most);
        Self(pool.build().unwrap_or_else(|_| unreachable!("no time-outs are set")))
    }

    pub(crate) async fn acquire(&self) -> sqlx::Result<Connection> {
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

    /// A connection that comes back only by [`Lease::keep`].
    pub(crate) async fn lease(&self) -> sqlx::Result<Lease> {
        self.acquire().await.map(|connection| Lease(Some(connection)))
    }

    /// Closes those that are idle.
    pub(crate) async fn close(&self) {
        while self.size_and_idle().1 > 0
            && let Ok(connection) = self.acquire().await
        {
            // There is nothing to be done about a connection that cannot even be closed.
            let _ = Object::take(connection).close().await;
        }
        self.0.close();
    }
}

/// A connection that is closed, unless it is kept: SQLite then rolls back a transaction that was begun, as
/// it does by itself on a full disk, unnoticed by the library.
#[derive(Debug)]
pub(crate) struct Lease(Option<Object<Connector>>);

impl Lease {
    /// Gives the connection back, outside of a transaction.
    pub(crate) fn keep(mut self) {
        self.0 = None;
    }
}

impl Deref for Lease {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        self.0.as_ref().unwrap_or_else(|| unreachable!("only `keep` takes it"))
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        self.0.as_mut().unwrap_or_else(|| unreachable!("only `keep` takes it"))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(Object::take(connection));
        }
    }
}
