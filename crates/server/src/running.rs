//! A server's way from its start to its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_server::{Server, ServerHandle};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use common::ServiceContext;

/// How long no request may be in progress before connections are ended: a client that was answered just
/// before `Connection: close` was sent with every answer may have its next request on the way.
const QUIET: Duration = Duration::from_millis(100);

/// How often to look whether requests are in progress.
const LOOK: Duration = Duration::from_millis(10);

/// How long background work may take to end.
const BACKGROUND_LIMIT: Duration = Duration::from_secs(10);

/// How the service is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// First serve on for `DRAIN_DELAY`, as on SIGTERM.
    AfterDrainDelay,
    /// At once, as on SIGINT: requests that were read are still answered.
    Now,
}

/// What a server's life involves beside the server.
pub(crate) struct Parts {
    pub(crate) address: SocketAddr,
    pub(crate) admin_address: Option<SocketAddr>,
    pub(crate) context: ServiceContext,
    pub(crate) draining: Arc<AtomicBool>,
    /// Ends connections that are between two requests.
    pub(crate) end_idle: CancellationToken,
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
    pub(crate) fn start(server: Server, admin: Option<Server>, parts: Parts) -> Self {
        let (sender, receiver) = watch::channel(None);
        let (address, admin_address) = (parts.address, parts.admin_address);
        #[expect(clippy::disallowed_methods, reason = "this task is what ends all others")]
        let life = tokio::spawn(live(server, admin, parts, receiver));
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

async fn live(
    server: Server,
    admin: Option<Server>,
    parts: Parts,
    mut wanted: watch::Receiver<Option<Stop>>,
) -> bool {
    let handle = server.handle();
    // Answers until the very end, when dropping its set ends it.
    let mut until_the_end = JoinSet::new();
    if let Some(admin) = admin {
        until_the_end.spawn(admin);
    }
    #[expect(clippy::disallowed_methods, reason = "ends by its handle or is aborted, below")]
    let server = tokio::spawn(server);
    // An error means that nobody can ask for a stop any more: whoever built the service has dropped it.
    let stop = wanted.wait_for(Option::is_some).await.map_or(Some(Stop::Now), |stop| *stop);

    parts.context.readiness.drain();
    parts.draining.store(true, Ordering::Relaxed);
    tracing::info!("Stopping");
    if stop == Some(Stop::AfterDrainDelay) {
        sleep(parts.drain_delay).await;
    }
    let answered = answer_the_rest(&handle, &parts).await;
    if !answered {
        tracing::error!(
            requests = parts.active.get(),
            "The grace period ended before all requests were answered"
        );
        server.abort();
    }
    let ended = timeout(BACKGROUND_LIMIT, parts.context.tasks.stop()).await.is_ok();
    if !ended {
        tracing::error!("Background work did not end in time");
    }
    tracing::info!("Stopped");
    answered && ended
}

/// Takes no new connection, waits for the answers, and ends what connections are left.
async fn answer_the_rest(handle: &ServerHandle, parts: &Parts) -> bool {
    let deadline = Instant::now() + parts.grace_period;
    handle.pause().await;
    let answered = timeout_at(deadline, async {
        let mut quiet_since = Instant::now();
        while quiet_since.elapsed() < QUIET {
            sleep(LOOK).await;
            if parts.active.get() > 0 {
                quiet_since = Instant::now();
            }
        }
        parts.end_idle.cancel();
        handle.stop(true).await;
    });
    answered.await.is_ok()
}
