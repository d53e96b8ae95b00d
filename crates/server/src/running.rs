//! A server's way from its start to its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::ServiceContext;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use transport::Listener;

/// How long no request may be in progress before connections are ended: a client that was answered just
/// before `Connection: close` was sent with every answer may have its next request on the way.
const IDLE_GRACE: Duration = Duration::from_millis(100);

/// How long after the end of the listener those are waited for who have not sent their first request.
const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(1);

/// How often to check whether requests are in progress.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// How long background work may take to end.
const BACKGROUND_LIMIT: Duration = Duration::from_secs(10);

/// How the service is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// First serve on for `DRAIN_DELAY`, as on SIGTERM.
    AfterDrainDelay,
    /// Without that delay, as on SIGINT: requests that were read are still answered.
    SkipDrainDelay,
}

/// What ends with a server, and how much time that has.
pub(crate) struct ShutdownContext {
    pub(crate) address: SocketAddr,
    pub(crate) admin_address: Option<SocketAddr>,
    pub(crate) context: ServiceContext,
    pub(crate) draining: Arc<AtomicBool>,
    pub(crate) active: Gauge,
    pub(crate) drain_delay: Duration,
    pub(crate) grace_period: Duration,
}

/// A service that answers.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    admin_address: Option<SocketAddr>,
    stop: StopHandle,
    life: JoinHandle<bool>,
}

/// Stops a service; clones stop the same one.
#[derive(Clone, Debug)]
pub struct StopHandle(Arc<watch::Sender<Option<Stop>>>);

impl StopHandle {
    /// Begins the stop. Another one changes nothing.
    pub fn stop(&self, stop: Stop) {
        self.0.send_if_modified(|wanted| {
            let first = wanted.is_none();
            if first {
                *wanted = Some(stop);
            }
            first
        });
    }
}

impl Running {
    pub(crate) fn start(
        listener: Listener,
        admin: Option<Listener>,
        shutdown: ShutdownContext,
    ) -> Self {
        let (sender, receiver) = watch::channel(None);
        let (address, admin_address) = (shutdown.address, shutdown.admin_address);
        #[expect(clippy::disallowed_methods, reason = "this task is what ends all others")]
        let life = tokio::spawn(run_until_shutdown(listener, admin, shutdown, receiver));
        Self { address, admin_address, stop: StopHandle(Arc::new(sender)), life }
    }

    /// Where it listens; with port 0 in the configuration, the port that the system gave.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Where probes and metrics are served beside it, if they are.
    #[must_use]
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// What stops it.
    #[must_use]
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// Waits until it has stopped. Returns whether every request that was read was answered within the
    /// grace period.
    pub async fn wait(self) -> bool {
        // The server alone ends only by a defect, which is not a clean stop.
        self.life.await.unwrap_or(false)
    }
}

async fn run_until_shutdown(
    listener: Listener,
    // Answers until the very end, when dropping it ends it.
    admin: Option<Listener>,
    shutdown: ShutdownContext,
    mut wanted: watch::Receiver<Option<Stop>>,
) -> bool {
    // An error means that nobody can ask for a stop any more: whoever built the service has dropped it.
    let stop =
        wanted.wait_for(Option::is_some).await.map_or(Some(Stop::SkipDrainDelay), |stop| *stop);

    shutdown.context.readiness.drain();
    shutdown.draining.store(true, Ordering::Relaxed);
    tracing::info!("Stopping");
    if stop == Some(Stop::AfterDrainDelay) {
        sleep(shutdown.drain_delay).await;
    }
    let answered = drain_connections(&listener, &shutdown).await;
    if !answered {
        tracing::error!(
            requests = shutdown.active.get(),
            "The grace period ended before all requests were answered"
        );
    }
    listener.abort();
    // Some of it is on the runtimes of the listener's workers.
    let ended = timeout(BACKGROUND_LIMIT, shutdown.context.tasks.stop()).await.is_ok();
    drop(listener);
    if !ended {
        tracing::error!("Background work did not end in time");
    }
    drop(admin);
    tracing::info!("Stopped");
    answered && ended
}

/// Lets in whom the kernel has let in and nobody else, waits for the answers, and ends what connections are left.
async fn drain_connections(listener: &Listener, shutdown: &ShutdownContext) -> bool {
    let closed_at = Instant::now();
    listener.close();
    let answered = timeout_at(closed_at + shutdown.grace_period, async {
        let mut idle_since = Instant::now();
        while idle_since.elapsed() < IDLE_GRACE {
            sleep(POLL_INTERVAL).await;
            let is_awaiting =
                listener.awaiting_first_request() > 0 && closed_at.elapsed() < FIRST_REQUEST_GRACE;
            if shutdown.active.get() > 0 || is_awaiting {
                idle_since = Instant::now();
            }
        }
        listener.close_idle_and_wait().await;
    });
    answered.await.is_ok()
}
