//! The database as a service sees it.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use common::ServiceContext;
use common::secrets::ReloadTrigger;
use faults::{Faults, Store};
use prometheus_client::metrics::histogram::Histogram;
use sqlx::Connection as _;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::context::TokioContext;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, Span};

use crate::config::DatabaseConfig;
use crate::connection::Connection;
use crate::error::{BoxError, Error, Reason, is_of_credentials};
use crate::metrics::{OperationLabel, PoolGauges, StorageMetrics};
use crate::migrations::Schema;
use crate::monitor::{CredentialUpdate, Monitor, Shared};
use crate::pools::Pools;
use crate::spans::{self, Target};
use crate::state::State;

/// How long a readiness check waits for the state to become better.
const READINESS_WAIT: Duration = Duration::from_millis(500);

/// How long to wait before another attempt to connect while credentials are being replaced.
const RECONNECT: Duration = Duration::from_millis(20);

/// SQLite or PostgreSQL; clones share it.
///
/// It connects in the background and again whenever it has to. While it is unavailable every operation fails at
/// once, and while it is silent after `DATABASE_TIMEOUT`.
#[derive(Clone, Debug)]
pub struct Database {
    state: watch::Receiver<State>,
    /// Tells the monitor that a request has seen an error.
    check_now: Arc<Notify>,
    timeout: Duration,
    /// Where connections live: those that a worker of the server opens would end with its runtime, before
    /// the last rows are written.
    pub(crate) runtime: Handle,
    pub(crate) target: Arc<ArcSwap<Target>>,
    /// Reads the credentials again.
    credentials: ReloadTrigger,
    /// What is to be done on purpose.
    faults: Faults,
    pub(crate) metrics: StorageMetrics,
    /// What has to end before the pools are closed.
    pub(crate) writers: TaskTracker,
}

/// An operation whose durations are measured, as `db_client_operation_duration_seconds`.
#[derive(Clone, Debug)]
pub struct Operation {
    pub(crate) name: &'static str,
    durations: Histogram,
}

/// Who begins and commits a transaction of SQLite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transaction {
    /// This crate.
    Begun,
    /// The statements themselves, which are one text.
    Own,
}

impl Database {
    /// Begins to connect, and registers the readiness checks `database` and `migrations`. Must be called
    /// inside the tokio runtime that the service ends with.
    ///
    /// # Errors
    /// When the URL is none of a known database, which [`DatabaseConfig::load`] has reported.
    pub fn start(
        config: &DatabaseConfig,
        schema: &'static Schema,
        context: &ServiceContext,
    ) -> Result<Self, BoxError> {
        let options = config.options().ok_or("DATABASE_URL is not usable")?;
        let gauges = PoolGauges::default();
        context.metrics.add_collector(gauges.clone());
        let (state_sender, state) = watch::channel(State::Unknown);
        let target = Arc::new(ArcSwap::from_pointee(Target::new(&options)));
        let (sender, updates) = mpsc::channel(1);
        let credentials = match config.secret() {
            Some(secret) => {
                let config = config.clone();
                context.secrets.follow(secret, move |secret| {
                    let update = config.options_with(&secret).map(CredentialUpdate::new);
                    let sender = sender.clone();
                    async move {
                        let (update, outcome) = update.ok_or("expected the URL of a database")?;
                        sender.send(update).await?;
                        outcome.await?
                    }
                })
            }
            None => ReloadTrigger::default(),
        };
        let database = Self {
            state,
            check_now: Arc::default(),
            timeout: config.database_timeout,
            runtime: Handle::current(),
            target: Arc::clone(&target),
            credentials: credentials.clone(),
            faults: context.faults.clone(),
            metrics: StorageMetrics::register(&context.metrics),
            writers: TaskTracker::new(),
        };
        let shared = Shared {
            state: state_sender,
            gauges,
            target,
            credentials,
            faults: context.faults.clone(),
            check_now: Arc::clone(&database.check_now),
            writers: database.writers.clone(),
        };
        let monitor = Monitor::new(options, config, schema, shared);
        context.tasks.spawn_until(|stop| monitor.run(updates, stop));
        for (name, fails) in [
            ("database", State::why_unavailable as fn(&State) -> _),
            ("migrations", State::why_unmigrated),
        ] {
            let state = database.state.clone();
            context.readiness.check(&context.tasks, name, move || {
                let mut state = state.clone();
                async move {
                    let fine = state.wait_for(|state| fails(state).is_none());
                    // What is known by then is the answer.
                    let _ = timeout(READINESS_WAIT, fine).await;
                    let failure = fails(&state.borrow());
                    failure.map_or(Ok(()), |reason| Err(reason.into()))
                }
            });
        }
        Ok(database)
    }

    /// An operation to measure: made once, under the name of what it does.
    #[must_use]
    pub fn operation(&self, name: &'static str) -> Operation {
        let durations =
            self.metrics.durations.get_or_create(&OperationLabel { operation: name }).clone();
        Operation { name, durations }
    }

    /// Reads, on a connection of its own.
    ///
    /// # Errors
    /// When the database is unavailable, silent or refuses the statement.
    pub async fn read<T>(
        &self,
        operation: &Operation,
        statements: impl AsyncFnOnce(Connection<'_>) -> sqlx::Result<T>,
    ) -> Result<T, Error> {
        self.measure(operation, self.span_of(operation), async |pools| match pools {
            Pools::Sqlite { .. } => {
                let (_turn, mut connection) = self.connect(pools, Pools::sqlite_reader).await?;
                Ok(statements(Connection::Sqlite(&mut connection)).await?)
            }
            Pools::Postgres { .. } => {
                let (_turn, mut connection) = self.connect(pools, Pools::postgres_reader).await?;
                let value = statements(Connection::Postgres(&mut connection)).await?;
                connection.commit().await?;
                Ok(value)
            }
        })
        .await
    }

    /// Writes, in a transaction of its own. Many small writes go through a [`Writer`](crate::Writer).
    ///
    /// # Errors
    /// When the database is unavailable, silent or full, or refuses a statement.
    pub async fn write<T>(
        &self,
        operation: &Operation,
        statements: impl AsyncFnOnce(Connection<'_>) -> sqlx::Result<T>,
    ) -> Result<T, Error> {
        self.write_by(operation, self.span_of(operation), Transaction::Begun, statements).await
    }

    fn span_of(&self, operation: &Operation) -> Span {
        self.target.load().operation(operation.name)
    }

    pub(crate) async fn write_by<T>(
        &self,
        operation: &Operation,
        span: Span,
        transaction: Transaction,
        statements: impl AsyncFnOnce(Connection<'_>) -> sqlx::Result<T>,
    ) -> Result<T, Error> {
        self.measure(operation, span, async |pools| {
            match pools {
                Pools::Sqlite { .. } => {
                    let mut connection = self.connect(pools, Pools::sqlite_writer).await?;
                    let value = match transaction {
                        Transaction::Begun => {
                            // Whoever reads first and writes then would be refused where another has
                            // written meanwhile.
                            let mut begun = connection.begin_with("BEGIN IMMEDIATE").await?;
                            let value = statements(Connection::Sqlite(&mut begun)).await?;
                            begun.commit().await.map_err(Error::at_commit)?;
                            value
                        }
                        Transaction::Own => {
                            let value = statements(Connection::Sqlite(&mut connection)).await;
                            value.map_err(Error::at_commit)?
                        }
                    };
                    connection.keep();
                    Ok(value)
                }
                Pools::Postgres { .. } => {
                    let mut begun = self.connect(pools, Pools::postgres_writer).await?;
                    let value = statements(Connection::Postgres(&mut begun)).await?;
                    begun.commit().await.map_err(Error::at_commit)?;
                    Ok(value)
                }
            }
        })
        .await
    }

    /// A connection, and how long it was waited for is measured. Where the credentials are being replaced, the pools
    /// that come after these are asked as well.
    async fn connect<C, F>(&self, mut pools: Pools, get: fn(Pools) -> F) -> Result<C, Error>
    where
        F: Future<Output = Result<C, Error>>,
    {
        let waiting = Instant::now();
        let connection = async {
            loop {
                let connection = Box::pin(get(pools)).await;
                let refused = connection.as_ref().err().and_then(Error::connection_error);
                match refused.filter(|error| is_of_credentials(error)) {
                    // A statement needs some of the time, too.
                    Some(error) if waiting.elapsed() < self.timeout / 2 => {
                        if !matches!(error, sqlx::Error::PoolClosed) {
                            self.credentials.request_reload();
                        }
                        sleep(RECONNECT).await;
                        pools = self.state.borrow().pools()?.clone();
                    }
                    _ => return connection,
                }
            }
        };
        let connection = connection.instrument(spans::wait_for_connection()).await?;
        self.metrics.waits.observe(waiting.elapsed().as_secs_f64());
        Ok(connection)
    }

    /// Runs an operation until its end, the time-out, or the end of the database, and measures it.
    async fn measure<T>(
        &self,
        operation: &Operation,
        span: Span,
        run: impl AsyncFnOnce(Pools) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let started = Instant::now();
        let result = self.while_up(run).instrument(span.clone()).await;
        if let Err(error) = &result {
            spans::fail(&span, error);
            if matches!(error, Error::Overloaded) {
                self.metrics.refused.inc();
            }
        }
        operation.durations.observe(started.elapsed().as_secs_f64());
        result
    }

    async fn while_up<T>(
        &self,
        run: impl AsyncFnOnce(Pools) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut state = self.state.clone();
        let pools = state.borrow().pools()?.clone();
        // Everything around it moves it once, and it is large.
        let run = Box::pin(async move {
            let reached = self.faults.reach(Store::Database).await;
            reached.map_err(|outage| Error::unavailable(Reason::State(outage.to_string())))?;
            run(pools).await
        });
        let run = async { timeout(self.timeout, run).await };
        let run = pin!(TokioContext::new(run, self.runtime.clone()));
        let result = tokio::select! {
            biased;
            result = run => result.unwrap_or(Err(Error::TimedOut)),
            state = state.wait_for(|state| !state.is_up()) => {
                let reason = state.map_or_else(|_| "the service ends".into(), |state| state.reason());
                return Err(Error::unavailable(Reason::State(reason)));
            }
        };
        if let Err(Error::Unavailable(_) | Error::OutcomeUnknown(_) | Error::TimedOut) = &result {
            self.check_now.notify_one();
        }
        result
    }

    /// Whether it can be used at the moment.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.state.borrow().pools().map(drop)
    }
}
