//! Connections to PostgreSQL: to a server, or to a pooler that lends one for a transaction at a time.

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use sqlx::error::BoxDynError;
use sqlx::pool::{PoolConnection, PoolOptions};
use sqlx::postgres::{
    PgArguments, PgConnectOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo,
};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Describe, Either, Execute, Executor,
    PgConnection, PgPool, Postgres, Row as _, SqlStr, Transaction,
};

/// A connection of the pool that was idle for longer is asked before it is used.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// An idle connection is closed after this time, and any after that one: load balancers and servers then
/// see them come and go.
const IDLE_TIMEOUT: Duration = Duration::from_mins(10);
const MAX_LIFETIME: Duration = Duration::from_mins(30);

/// A setting that nobody but a session of ours has: a pooler refuses it, or does not pass it on.
const PROBE: (&str, &str) = ("stack.session", "own");

/// Whose the sessions on the server are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sessions {
    /// Each connection has one, which keeps its settings and its prepared statements.
    Own,
    /// A pooler lends one for each transaction, such as PgBouncer in transaction mode: what a connection leaves in it
    /// is found by others.
    Lent,
}

/// Connects, and finds out whose the sessions are, unless the URL says by `statement-cache-capacity=0` that they are
/// lent.
pub(crate) async fn connect(
    options: &PgConnectOptions,
) -> sqlx::Result<(PostgresConnection, Sessions)> {
    let options = without_parameters(options);
    if !is_said_to_be_lent(&options) {
        match options.clone().options([PROBE]).connect().await {
            Ok(mut connection) => {
                let probe = sqlx::raw_sql("SELECT current_setting('stack.session', true)");
                let seen: Option<String> = probe.fetch_one(&mut connection).await?.try_get(0)?;
                let is_own = seen.as_deref() == Some(PROBE.1);
                let sessions = if is_own { Sessions::Own } else { Sessions::Lent };
                return Ok((
                    PostgresConnection::new(Inner::Single(connection), sessions),
                    sessions,
                ));
            }
            // A pooler that knows no such parameter refuses the connection.
            Err(sqlx::Error::Database(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let connection = options.connect().await?;
    Ok((PostgresConnection::new(Inner::Single(connection), Sessions::Lent), Sessions::Lent))
}

/// Poolers refuse a parameter that they cannot set anew for each session that they lend. Numbers travel in binary
/// here, so that the digits of their text do not matter.
fn without_parameters(options: &PgConnectOptions) -> PgConnectOptions {
    options.clone().extra_float_digits(None)
}

fn is_said_to_be_lent(options: &PgConnectOptions) -> bool {
    let url = options.to_url_lossy();
    url.query_pairs().any(|(name, value)| name == "statement-cache-capacity" && value == "0")
}

/// The connections that requests share.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    pool: PgPool,
    sessions: Sessions,
    timeout: Duration,
}

impl Connections {
    /// A pool that connects when it has to.
    pub(crate) fn new(
        options: &PgConnectOptions,
        sessions: Sessions,
        most: u32,
        timeout: Duration,
    ) -> Self {
        let pool = PoolOptions::<Postgres>::new()
            .max_connections(most)
            .acquire_timeout(timeout)
            .idle_timeout(IDLE_TIMEOUT)
            .max_lifetime(MAX_LIFETIME)
            .test_before_acquire(false)
            .before_acquire(|connection, about| {
                Box::pin(async move {
                    Ok(about.idle_for < TRUSTED_IDLE || connection.ping().await.is_ok())
                })
            })
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if sessions == Sessions::Own {
                        connection.execute(limit("SET", timeout)).await?;
                    }
                    Ok(())
                })
            });
        Self { pool: pool.connect_lazy_with(without_parameters(options)), sessions, timeout }
    }

    /// A connection for statements that only read.
    pub(crate) async fn reader(&self) -> sqlx::Result<PostgresConnection> {
        let inner = match self.sessions {
            Sessions::Own => Inner::Pooled(self.pool.acquire().await?),
            // A statement is prepared and executed in two steps, which only a transaction keeps together.
            Sessions::Lent => Inner::Begun(self.begin("BEGIN READ ONLY; SET LOCAL").await?),
        };
        Ok(PostgresConnection::new(inner, self.sessions))
    }

    /// A connection in a transaction.
    pub(crate) async fn writer(&self) -> sqlx::Result<PostgresConnection> {
        let begun = match self.sessions {
            Sessions::Own => self.pool.begin().await?,
            Sessions::Lent => self.begin("BEGIN; SET LOCAL").await?,
        };
        Ok(PostgresConnection::new(Inner::Begun(begun), self.sessions))
    }

    /// Begins a transaction with a limit of its own, in one step.
    async fn begin(&self, set: &str) -> sqlx::Result<Transaction<'static, Postgres>> {
        self.pool.begin_with(limit(set, self.timeout)).await
    }

    /// How many connections there are, and how many of them are idle.
    pub(crate) fn size_and_idle(&self) -> (usize, usize) {
        (self.pool.size() as usize, self.pool.num_idle())
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

/// Limits what the server does for a client that has gone.
fn limit(set: &str, timeout: Duration) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!("{set} statement_timeout = {}", timeout.as_millis()))
}

/// A connection to PostgreSQL. Statements get a name on the server, to be used again, where the session is its own.
pub struct PostgresConnection {
    inner: Inner,
    sessions: Sessions,
}

enum Inner {
    Single(PgConnection),
    Pooled(PoolConnection<Postgres>),
    Begun(Transaction<'static, Postgres>),
}

impl PostgresConnection {
    fn new(inner: Inner, sessions: Sessions) -> Self {
        Self { inner, sessions }
    }

    /// Ends the transaction, if there is one.
    pub(crate) async fn commit(self) -> sqlx::Result<()> {
        match self.inner {
            Inner::Begun(transaction) => transaction.commit().await,
            Inner::Single(_) | Inner::Pooled(_) => Ok(()),
        }
    }

    pub(crate) async fn close(self) -> sqlx::Result<()> {
        match self.inner {
            Inner::Single(connection) => connection.close().await,
            Inner::Pooled(_) | Inner::Begun(_) => Ok(()),
        }
    }

    fn parts(&mut self) -> (&mut PgConnection, bool) {
        let connection = match &mut self.inner {
            Inner::Single(connection) => connection,
            Inner::Pooled(connection) => connection,
            Inner::Begun(transaction) => transaction,
        };
        (connection, self.sessions == Sessions::Own)
    }
}

impl fmt::Debug for PostgresConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConnection")
            .field("sessions", &self.sessions)
            .finish_non_exhaustive()
    }
}

impl<'c> Executor<'c> for &'c mut PostgresConnection {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, sqlx::Result<Either<PgQueryResult, PgRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let (connection, named) = self.parts();
        connection.fetch_many(Statement { query, named })
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<PgRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let (connection, named) = self.parts();
        connection.fetch_optional(Statement { query, named })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, sqlx::Result<PgStatement>>
    where
        'c: 'e,
    {
        self.parts().0.prepare_with(sql, parameters)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<Describe<Postgres>>>
    where
        'c: 'e,
    {
        self.parts().0.describe(sql)
    }
}

/// A query whose statement gets a name only where that is its own.
struct Statement<E> {
    query: E,
    named: bool,
}

impl<'q, E: Execute<'q, Postgres>> Execute<'q, Postgres> for Statement<E> {
    fn sql(self) -> SqlStr {
        self.query.sql()
    }

    fn statement(&self) -> Option<&PgStatement> {
        self.query.statement()
    }

    fn take_arguments(&mut self) -> Result<Option<PgArguments>, BoxDynError> {
        self.query.take_arguments()
    }

    fn persistent(&self) -> bool {
        self.named && self.query.persistent()
    }
}
