//! The task that owns the state of the database.

use std::mem::discriminant;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use common::causes;
use common::secrets::{Refusal, ReloadTrigger};
use faults::{Faults, Outage, Store};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{DatabaseConfig, Options};
use crate::error::is_of_credentials;
use crate::metrics::PoolGauges;
use crate::migrations::{self, MigrationError, Schema};
use crate::pools::Pools;
use crate::postgres::Sessions;
use crate::session::Session;
use crate::spans::Target;
use crate::state::State;

/// How long to wait between two checks.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// How long to wait after a check before another that a request asks for.
const MIN_CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// A database that takes longer to connect or to answer is unavailable.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1500);

/// How long the connections of a replaced pool may stay in use.
const RETIREMENT: Duration = Duration::from_mins(1);

/// What a monitor shares with the database.
pub(crate) struct Shared {
    pub(crate) state: watch::Sender<State>,
    pub(crate) gauges: PoolGauges,
    /// Where spans lead.
    pub(crate) target: Arc<ArcSwap<Target>>,
    /// Reads the credentials again.
    pub(crate) credentials: ReloadTrigger,
    pub(crate) faults: Faults,
    /// A request has seen an error.
    pub(crate) check_now: Arc<Notify>,
    /// What has to end before the pools are closed.
    pub(crate) writers: TaskTracker,
}

/// Other credentials, or another server, to be used from now on if they are of use.
pub(crate) struct CredentialUpdate {
    options: Options,
    done: oneshot::Sender<Result<(), Refusal>>,
}

impl CredentialUpdate {
    /// An update, and what becomes of it.
    pub(crate) fn new(options: Options) -> (Self, oneshot::Receiver<Result<(), Refusal>>) {
        let (done, outcome) = oneshot::channel();
        (Self { options, done }, outcome)
    }
}

/// Finds out how the database is, and makes it usable.
pub(crate) struct Monitor {
    options: Options,
    max_connections: u32,
    timeout: Duration,
    auto_migrate: bool,
    schema: &'static Schema,
    shared: Shared,
    session: Option<Session>,
    /// Pools that were replaced, until their connections are idle.
    retired: JoinSet<()>,
}

impl Monitor {
    pub(crate) fn new(
        options: Options,
        config: &DatabaseConfig,
        schema: &'static Schema,
        shared: Shared,
    ) -> Self {
        Self {
            options,
            max_connections: config.database_max_connections.get(),
            timeout: config.database_timeout,
            auto_migrate: config.auto_migrate,
            schema,
            shared,
            session: None,
            retired: JoinSet::new(),
        }
    }

    /// Checks again and again until the service stops, and closes the pools once nobody writes any more.
    pub(crate) async fn run(
        mut self,
        mut updates: mpsc::Receiver<CredentialUpdate>,
        stop: CancellationToken,
    ) {
        while stop.run_until_cancelled(self.check()).await.is_some() {
            sleep(MIN_CHECK_INTERVAL).await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.shared.check_now.notified() => {}
                Some(update) = updates.recv() => {
                    let outcome = self.switch_to(update.options).await;
                    // The follower of the secret waits for it.
                    let _ = update.done.send(outcome);
                }
                () = sleep(CHECK_INTERVAL) => {}
            }
        }
        self.shared.writers.close();
        self.shared.writers.wait().await;
        if let State::Up(pools) = self.set(State::Unavailable("the service ends".into())) {
            pools.close().await;
        }
        if let Some(session) = self.session {
            session.close().await;
        }
    }

    async fn check(&mut self) {
        let reached = timeout(CONNECT_TIMEOUT, self.shared.faults.reach(Store::Database)).await;
        if !matches!(reached, Ok(Ok(()))) {
            self.session = None;
            return drop(self.set(State::Unavailable(Outage(Store::Database).to_string())));
        }
        let answers = match &mut self.session {
            Some(session) => {
                timeout(CONNECT_TIMEOUT, session.ping()).await.is_ok_and(|answer| answer.is_ok())
            }
            None => false,
        };
        if answers && self.shared.state.borrow().is_up() {
            return;
        }
        if !answers {
            if let Some(Session::Sqlite { .. }) = self.session.take() {
                // What the pools still write to a file that was removed or replaced is lost with them.
                let reason = "the file was removed or replaced, or does not answer";
                drop(self.set(State::Unavailable(reason.into())));
            }
            match timeout(CONNECT_TIMEOUT, Session::connect(&self.options)).await {
                Ok(Ok(session)) => self.session = Some(session),
                Ok(Err(error)) => {
                    if is_of_credentials(&error) {
                        self.shared.credentials.request_reload();
                    }
                    return drop(self.set(State::Unavailable(causes(&error))));
                }
                Err(_) => {
                    return drop(self.set(State::Unavailable("no connection in time".into())));
                }
            }
        }
        match self.check_schema().await {
            Ok(()) => {
                let sessions = self.session.as_ref().map_or(Sessions::Own, Session::sessions);
                let pools = Pools::new(&self.options, sessions, self.max_connections, self.timeout);
                drop(self.set(State::Up(pools)));
            }
            Err(MigrationError::Connection(error)) => {
                self.session = None;
                drop(self.set(State::Unavailable(causes(&error))));
            }
            Err(error) => drop(self.set(State::Unmigrated(causes(&error)))),
        }
    }

    /// Switches to other credentials, or another server, once it has connected there. Operations under way keep their
    /// old connections.
    async fn switch_to(&mut self, options: Options) -> Result<(), Refusal> {
        if discriminant(&options) != discriminant(&self.options) {
            return Err("another kind of database is taken over by a restart only".into());
        }
        let session =
            timeout(CONNECT_TIMEOUT, Session::connect(&options)).await?.map_err(|error| {
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
        let pools = Pools::new(&options, sessions, self.max_connections, self.timeout);
        self.shared.target.store(Arc::new(Target::new(&options)));
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
            // A server that is only being switched to is not the one in use.
            self.shared.state.send_if_modified(|state| {
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
        self.shared.gauges.set(match &state {
            State::Up(pools) => Some(pools.clone()),
            _ => None,
        });
        self.shared.state.send_replace(state)
    }
}
