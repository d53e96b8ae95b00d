//! The task that owns the state of the database.

use std::sync::Arc;
use std::time::Duration;

use common::causes;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{DatabaseConfig, Options};
use crate::metrics::PoolGauges;
use crate::migrations::{self, MigrationError, Schema};
use crate::pools::Pools;
use crate::postgres::Sessions;
use crate::session::Session;
use crate::state::State;

/// How long to wait between two checks.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// How long to wait after a check before another that a request asks for.
const MIN_CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// A database that takes longer to connect or to answer is away.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1500);

/// Finds out how the database is, and makes it usable.
pub(crate) struct Monitor {
    options: Options,
    max_connections: u32,
    timeout: Duration,
    auto_migrate: bool,
    schema: &'static Schema,
    state: watch::Sender<State>,
    gauges: PoolGauges,
    session: Option<Session>,
}

impl Monitor {
    pub(crate) fn new(
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

    /// Checks again and again until the service stops, and closes the pools once nobody writes any more.
    pub(crate) async fn run(
        mut self,
        check_now: Arc<Notify>,
        writers: TaskTracker,
        stop: CancellationToken,
    ) {
        while stop.run_until_cancelled(self.check()).await.is_some() {
            sleep(MIN_CHECK_INTERVAL).await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = check_now.notified() => {}
                () = sleep(CHECK_INTERVAL) => {}
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

    async fn check(&mut self) {
        let answers = match &mut self.session {
            Some(session) => {
                timeout(CONNECT_TIMEOUT, session.ping()).await.is_ok_and(|answer| answer.is_ok())
            }
            None => false,
        };
        if answers && self.state.borrow().is_up() {
            return;
        }
        if !answers {
            self.session = None;
            match timeout(CONNECT_TIMEOUT, Session::connect(&self.options)).await {
                Ok(Ok(session)) => self.session = Some(session),
                Ok(Err(error)) => return self.set(State::Away(causes(&error))),
                Err(_) => return self.set(State::Away("no connection in time".into())),
            }
        }
        match self.check_schema().await {
            Ok(()) => {
                let sessions = self.session.as_ref().map_or(Sessions::Own, Session::sessions);
                let pools = Pools::new(&self.options, sessions, self.max_connections, self.timeout);
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
