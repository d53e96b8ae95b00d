//! The task that owns the state of the database.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::causes;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Pools, State};
use crate::config::{DatabaseConfig, Options};
use crate::connection::Connection;
use crate::metrics::PoolGauges;
use crate::migrations::{self, MigrationError, Schema};
use crate::postgres::{self, PostgresConnection, Sessions};
use crate::sqlite;

/// How long to wait between two looks.
const INTERVAL: Duration = Duration::from_millis(500);

/// How long to wait after a look before another that a request asks for.
const LEAST_INTERVAL: Duration = Duration::from_millis(20);

/// A database that takes longer to connect or to answer is away.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Connections that read from SQLite, at most.
const SQLITE_READERS: usize = 4;

/// A page cache, in KiB: of each connection to SQLite, whose pages the kernel caches as well.
const SQLITE_CACHE: &str = "-512";

/// Finds out how the database is, and makes it usable.
pub(super) struct Keeper {
    options: Options,
    max_connections: u32,
    timeout: Duration,
    auto_migrate: bool,
    schema: &'static Schema,
    state: watch::Sender<State>,
    gauges: PoolGauges,
    session: Option<Session>,
}

impl Keeper {
    pub(super) fn new(
        options: Options,
        config: &DatabaseConfig,
        schema: &'static Schema,
        state: watch::Sender<State>,
        gauges: PoolGauges,
    ) -> Self {
        Self {
            options,
            max_connections: config.database_max_connections.get(),
            timeout: config.database_timeout,
            auto_migrate: config.auto_migrate,
            schema,
            state,
            gauges,
            session: None,
        }
    }

    /// Looks again and again until the service stops, and closes the pools once nobody writes any more.
    pub(super) async fn run(
        mut self,
        look: Arc<Notify>,
        writers: TaskTracker,
        stop: CancellationToken,
    ) {
        while stop.run_until_cancelled(self.look()).await.is_some() {
            sleep(LEAST_INTERVAL).await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = look.notified() => {}
                () = sleep(INTERVAL) => {}
            }
        }
        writers.close();
        writers.wait().await;
        self.gauges.set(None);
        if let State::Up(pools) = self.state.send_replace(State::Away("the service ends".into())) {
            pools.close().await;
        }
        if let Some(session) = self.session {
            session.close().await;
        }
    }

    async fn look(&mut self) {
        let asked = match &mut self.session {
            Some(session) => {
                timeout(PATIENCE, session.ping()).await.is_ok_and(|asked| asked.is_ok())
            }
            None => false,
        };
        if asked && self.state.borrow().is_up() {
            return;
        }
        if !asked {
            self.session = None;
            match timeout(PATIENCE, self.options.connect()).await {
                Ok(Ok(session)) => self.session = Some(session),
                Ok(Err(error)) => return self.set(State::Away(causes(&error))),
                Err(_) => return self.set(State::Away("no connection in time".into())),
            }
        }
        match self.check_schema().await {
            Ok(()) => {
                let sessions = self.session.as_ref().map_or(Sessions::Own, Session::sessions);
                let pools = self.options.pools(sessions, self.max_connections, self.timeout);
                self.set(State::Up(pools));
            }
            Err(MigrationError::Connection(error)) => {
                self.session = None;
                self.set(State::Away(causes(&error)));
            }
            Err(error) => self.set(State::Unmigrated(causes(&error))),
        }
    }

    async fn check_schema(&mut self) -> Result<(), MigrationError> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let difference = migrations::compare(session.connection(), self.schema).await?;
        if !difference.pending.is_empty() {
            if !self.auto_migrate {
                return Err(MigrationError::Pending(difference.pending.len()));
            }
            self.state.send_replace(State::Unmigrated("migrations are being applied".into()));
            let applied = migrations::apply(session.connection(), self.schema).await?;
            tracing::info!(migrations = applied.join(", "), "Migrations applied");
        }
        if !difference.newer.is_empty() {
            let newer = difference.newer.join(", ");
            tracing::warn!(migrations = newer, "The database is newer than this release");
        }
        Ok(())
    }

    fn set(&self, state: State) {
        self.gauges.set(match &state {
            State::Up(pools) => Some(pools.clone()),
            _ => None,
        });
        self.state.send_replace(state);
    }
}

/// The keeper's own connection.
pub(crate) enum Session {
    Sqlite { connection: SqliteConnection, path: PathBuf, file: FileId },
    Postgres(PostgresConnection, Sessions),
}

/// Which file a path leads to: device and inode.
type FileId = Option<(u64, u64)>;

fn file_id(path: &Path) -> FileId {
    fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

impl Session {
    /// Asks for something that is not answered from memory alone.
    async fn ping(&mut self) -> sqlx::Result<()> {
        match self {
            Self::Sqlite { connection, path, file } => {
                if file_id(path) != *file {
                    // What is written to a file without a name is lost with the last connection.
                    return Err(sqlx::Error::protocol("the file has been removed or replaced"));
                }
                sqlx::query("SELECT name FROM sqlite_schema LIMIT 1")
                    .fetch_optional(connection)
                    .await?;
            }
            Self::Postgres(connection, _) => {
                sqlx::raw_sql("SELECT 1").execute(connection).await?;
            }
        }
        Ok(())
    }

    fn sessions(&self) -> Sessions {
        match self {
            Self::Sqlite { .. } => Sessions::Own,
            Self::Postgres(_, sessions) => *sessions,
        }
    }

    pub(crate) fn connection(&mut self) -> Connection<'_> {
        match self {
            Self::Sqlite { connection, .. } => Connection::Sqlite(connection),
            Self::Postgres(connection, _) => Connection::Postgres(connection),
        }
    }

    pub(crate) async fn close(self) {
        // There is nothing to be done about a connection that cannot even be closed.
        let _ = match self {
            Self::Sqlite { connection, .. } => connection.close().await,
            Self::Postgres(connection, _) => connection.close().await,
        };
    }
}

impl Options {
    /// Connects once. The folder of an SQLite file is made at need.
    pub(crate) async fn connect(&self) -> sqlx::Result<Session> {
        match self {
            Self::Sqlite(options) => {
                if let Some(folder) = options.get_filename().parent() {
                    fs::create_dir_all(folder)?;
                }
                let options = options.clone().pragma("cache_size", SQLITE_CACHE);
                let connection = options.connect().await?;
                let path = options.get_filename().to_owned();
                Ok(Session::Sqlite { connection, file: file_id(&path), path })
            }
            Self::Postgres(options) => {
                let (connection, sessions) = postgres::connect(options).await?;
                Ok(Session::Postgres(connection, sessions))
            }
        }
    }

    fn pools(&self, sessions: Sessions, max_connections: u32, timeout: Duration) -> Pools {
        match self {
            Self::Sqlite(options) => {
                let options = options.clone().pragma("cache_size", SQLITE_CACHE);
                // Each has a thread of its own; more of them only wait for each other.
                let readers = SQLITE_READERS.min(max_connections as usize);
                let read_only = options.clone().pragma("query_only", "ON");
                Pools::Sqlite {
                    readers: sqlite::Connections::new(read_only, readers),
                    writer: sqlite::Connections::new(options, 1),
                }
            }
            Self::Postgres(options) => Pools::Postgres(postgres::Connections::new(
                options,
                sessions,
                max_connections,
                timeout,
            )),
        }
    }
}
