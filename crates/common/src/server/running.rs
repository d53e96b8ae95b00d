//! A server's way from its start to its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_server::{Server, ServerHandle};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{Readiness, Tasks};

/// How long no request may be in progress before connections are ended: a client that was answered just
/// before `Connection: close` was sent with every answer may have its next request on the way.
const QUIET: Duration = Duration::from_millis(100);

/// How often to look whether requests are in progress.
const LOOK: Duration = Duration::from_millis(10);

/// How the service is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// First serve on for `DRAIN_DELAY`, as on SIGTERM.
    AfterDrainDelay,
    /// At once, as on SIGINT: requests that were read are still answered.
    Now,
}

/// What a server is made of.
pub(super) struct Parts {
    pub(super) address: SocketAddr,
    pub(super) server: Server,
    pub(super) readiness: Readiness,
    pub(super) draining: Arc<AtomicBool>,
    pub(super) active: Gauge,
    pub(super) tasks: Tasks,
    pub(super) drain_delay: Duration,
    pub(super) grace_period: Duration,
}

/// A service that answers.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
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
    pub(super) fn start(parts: Parts) -> Self {
        let (sender, receiver) = watch::channel(None);
        let address = parts.address;
        #[expect(
            clippy::disallowed_methods,
            reason = "this task is what ends all others"
        )]
        let life = tokio::spawn(live(parts, receiver));
        Self {
            address,
            stop: StopHandle(Arc::new(sender)),
            life,
        }
    }

    /// Where it listens; with port 0 in the configuration, the port that the system gave.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
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

async fn live(parts: Parts, mut wanted: watch::Receiver<Option<Stop>>) -> bool {
    let handle = parts.server.handle();
    #[expect(
        clippy::disallowed_methods,
        reason = "ends by the handle, and is waited for below"
    )]
    let server = tokio::spawn(parts.server);
    // An error means that nobody can ask for a stop any more: whoever built the service has dropped it.
    let stop = wanted
        .wait_for(Option::is_some)
        .await
        .map_or(Some(Stop::Now), |stop| *stop);

    parts.readiness.drain();
    parts.draining.store(true, Ordering::Relaxed);
    tracing::info!("Stopping");
    if stop == Some(Stop::AfterDrainDelay) {
        sleep(parts.drain_delay).await;
    }
    let in_time = answer_the_rest(&handle, &parts.active, parts.grace_period).await;
    if in_time {
        parts.tasks.stop().await;
        // It reports nothing that is not logged, and cannot fail to stop.
        let _ = server.await;
        tracing::info!("Stopped");
    } else {
        tracing::error!(
            requests = parts.active.get(),
            "Stopped before all requests were answered"
        );
    }
    in_time
}

/// Takes no new connection, waits for the answers, and ends what connections are left.
async fn answer_the_rest(handle: &ServerHandle, active: &Gauge, grace: Duration) -> bool {
    let deadline = Instant::now() + grace;
    handle.pause().await;
    let answered = timeout_at(deadline, async {
        let mut quiet_since = Instant::now();
        while quiet_since.elapsed() < QUIET {
            sleep(LOOK).await;
            if active.get() > 0 {
                quiet_since = Instant::now();
            }
        }
        handle.stop(true).await;
    });
    answered.await.is_ok()
}
