//! The task that owns the state of the database.

use std::fs;
use std::mem::discriminant;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use common::causes;
use common::secrets::{Look, Refusal};
use faults::{Faults, Store};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Pools, State};
use crate::config::{DatabaseConfig, Options};
use crate::connection::Connection;
use crate::error::is_of_credentials;
use crate::metrics::PoolGauges;
use crate::migrations::{self, MigrationError, Schema};
use crate::postgres::{self, PostgresConnection, Sessions};
use crate::spans::Target;
use crate::sqlite;

/// How long to wait between two looks.
const INTERVAL: Duration = Duration::from_millis(500);

/// How long to wait after a look before another that a request asks for.
const LEAST_INTERVAL: Duration = Duration::from_millis(20);

/// A database that takes longer to connect or to answer is away.
const PATIENCE: Duration = Duration::from_millis(1500);

/// How long the connections of a replaced pool may stay in use.
const RETIREMENT: Duration = Duration::from_mins(1);

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
    target: Arc<ArcSwap<Target>>,
    /// Reads the credentials again.
    credentials: Look,
    faults: Faults,
    session: Option<Session>,
    /// Pools that were replaced, until their connections are idle.
    retired: JoinSet<()>,
}

/// Other credentials, or another server, to be used from now on if they are of use.
pub(super) struct Offer {
    options: Options,
    done: oneshot::Sender<Result<(), Refusal>>,
}

impl Offer {
    /// An offer, and what becomes of it.
    pub(super) fn new(options: Options) -> (Self, oneshot::Receiver<Result<(), Refusal>>) {
        let (done, outcome) = oneshot::channel();
        (Self { options, done }, outcome)
    }
}

impl Keeper {
    pub(super) fn new(
        options: Options,
        config: &DatabaseConfig,
        schema: &'static Schema,
        (state, gauges, target, credentials, faults): (
            watch::Sender<State>,
            PoolGauges,
            Arc<ArcSwap<Target>>,
            Look,
            Faults,
        ),
    ) -> Self {
        Self {
            options,
            max_connections: config.database_max_connections.get(),
            timeout: config.database_timeout,
            auto_migrate: config.auto_migrate,
            schema,
            state,
            gauges,
            target,
            credentials,
            faults,
            session: None,
            retired: JoinSet::new(),
        }
    }

    /// Looks again and again until the service stops, and closes the pools once nobody writes any more.
    pub(super) async fn run(
        mut self,
        (look, mut offers): (Arc<Notify>, mpsc::Receiver<Offer>),
        writers: TaskTracker,
        stop: CancellationToken,
    ) {
        while stop.run_until_cancelled(self.look()).await.is_some() {
            sleep(LEAST_INTERVAL).await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = look.notified() => {}
                Some(offer) = offers.recv() => {
                    let taken = self.take_over(offer.options).await;
                    // Whoever offers waits for the answer.
                    let _ = offer.done.send(taken);
                }
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
        let reached = timeout(PATIENCE, self.faults.reach(Store::Database)).await;
        if !matches!(reached, Ok(Ok(()))) {
            self.session = None;
            return drop(self.set(State::Away("fault injection: the store is away".into())));
        }
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
                Ok(Err(error)) => {
                    if is_of_credentials(&error) {
                        self.credentials.now();
                    }
                    return drop(self.set(State::Away(causes(&error))));
                }
                Err(_) => return drop(self.set(State::Away("no connection in time".into()))),
            }
        }
        match self.check_schema().await {
            Ok(()) => {
                let sessions = self.session.as_ref().map_or(Sessions::Own, Session::sessions);
                let pools = self.options.pools(sessions, self.max_connections, self.timeout);
                drop(self.set(State::Up(pools)));
            }
            Err(MigrationError::Connection(error)) => {
                self.session = None;
                drop(self.set(State::Away(causes(&error))));
            }
            Err(error) => drop(self.set(State::Unmigrated(causes(&error)))),
        }
    }

    /// Takes over other credentials, or another server, once it has connected there. Whoever uses an old connection
    /// keeps it until he has done.
    async fn take_over(&mut self, options: Options) -> Result<(), Refusal> {
        if discriminant(&options) != discriminant(&self.options) {
            return Err("another kind of database is taken over by a restart only".into());
        }
        let session = timeout(PATIENCE, options.connect()).await?.map_err(|error| {
            // What the server says names the role, and never the password.
            Refusal::from(causes(&error))
        })?;
        let old = self.session.replace(session);
        if let Err(error) = self.check_schema().await {
            self.session = old;
            return Err(error.into());
        }
        if let Some(old) = old {
            self.retired.spawn(old.close());
        }
        let sessions = self.session.as_ref().map_or(Sessions::Own, Session::sessions);
        let pools = options.pools(sessions, self.max_connections, self.timeout);
        self.target.store(Arc::new(Target::new(&options)));
        self.options = options;
        if let State::Up(old) = self.set(State::Up(pools)) {
            self.retired.spawn(async move {
                // What is still in use then is closed when it comes back.
                let _ = timeout(RETIREMENT, old.close()).await;
            });
        }
        while self.retired.try_join_next().is_some() {}
        Ok(())
    }

    async fn check_schema(&mut self) -> Result<(), MigrationError> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let difference = migrations::compare(session.connection(), self.schema).await?;
        if !difference.pending.is_empty() {
            if !self.auto_migrate {
                return Err(MigrationError::Pending(difference.pending.len()));
            }
            // A server that is only being taken over is not the one in use.
            self.state.send_if_modified(|state| {
                let is_news = !state.is_up();
                if is_news {
                    *state = State::Unmigrated("migrations are being applied".into());
                }
                is_news
            });
            let applied = migrations::apply(session.connection(), self.schema).await?;
            tracing::info!(migrations = applied.join(", "), "Migrations applied");
        }
        if !difference.newer.is_empty() {
            let newer = difference.newer.join(", ");
            tracing::warn!(migrations = newer, "The database is newer than this release");
        }
        Ok(())
    }

    fn set(&self, state: State) -> State {
        self.gauges.set(match &state {
            State::Up(pools) => Some(pools.clone()),
            _ => None,
        });
        self.state.send_replace(state)
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
