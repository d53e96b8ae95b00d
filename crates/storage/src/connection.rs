//! One connection, of either kind.

use sqlx::SqliteConnection;

use crate::postgres::PostgresConnection;

/// A connection to one of the two databases, inside a transaction where a [`Writer`](crate::Writer) lends
/// it. [`either!`](crate::either) runs the same statement on both.
#[derive(Debug)]
pub enum Connection<'c> {
    /// To SQLite.
    Sqlite(&'c mut SqliteConnection),
    /// To PostgreSQL.
    Postgres(&'c mut PostgresConnection),
}

/// Evaluates an expression for a [`Connection`] of either kind: it is written once and compiled twice, so
/// rows and values need to fit both.
///
/// ```
/// # async fn count(connection: storage::Connection<'_>) -> sqlx::Result<i64> {
/// storage::either!(connection, |connection| {
///     sqlx::query_scalar("SELECT count(*) FROM words").fetch_one(&mut *connection).await
/// })
/// # }
/// ```
#[macro_export]
macro_rules! either {
    ($connection:expr, |$inner:ident| $body:expr) => {
        match $connection {
            $crate::Connection::Sqlite($inner) => $body,
            $crate::Connection::Postgres($inner) => $body,
        }
    };
}
