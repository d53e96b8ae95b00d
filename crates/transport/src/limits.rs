//! How much time clients have.

use std::time::Duration;

/// The time limits of a listener's connections.
#[derive(Clone, Copy, Debug)]
pub struct TimeLimits {
    /// For a request head, and for a TLS handshake.
    pub head: Duration,
    /// For all that is still to be answered once the listener is closed.
    pub grace_period: Duration,
}

impl TimeLimits {
    /// For the next request on an idle connection: longer than the 60 s of common load balancers, so that the balancer
    /// and not the server ends it.
    const KEEP_ALIVE: Duration = Duration::from_secs(75);

    /// For a client to take some of its answer.
    const WRITE: Duration = Duration::from_mins(1);

    /// The same once the listener is closed: whoever takes nothing now would not have it all before the process ends.
    const SHUTDOWN_WRITE: Duration = Duration::from_secs(5);

    /// For a head or a handshake once the listener is closed.
    pub(crate) const SHUTDOWN_HEAD: Duration = Duration::from_secs(1);

    /// For the rest of a body that nobody wants, which is read and discarded so that the client reads the answer
    /// instead of a reset.
    pub(crate) const DISCARD: Duration = Duration::from_secs(1);

    /// For TCP handshakes that have begun when no new one may begin, before the socket is closed.
    pub(crate) const LAST_HANDSHAKES: Duration = Duration::from_millis(20);

    /// How often connections are compared with their limits. One timer for all: a timer for each request would cost
    /// more than the request.
    pub(crate) fn tick(&self) -> Duration {
        (self.head / 8).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }

    /// While the listener is open.
    pub(crate) fn normal(&self) -> Limits {
        let ticks = Self::KEEP_ALIVE.as_millis() / self.tick().as_millis().max(1);
        let keep_alive = u32::try_from(ticks).unwrap_or(u32::MAX).max(1);
        Limits { head: self.head, write: Self::WRITE, keep_alive }
    }

    /// Once the listener was closed so long ago: in the last quarter of the grace period clients that have not taken
    /// their answers are ended, while the process still can tell why.
    pub(crate) fn shutdown(&self, closed_for: Duration) -> Limits {
        let is_late = closed_for > self.grace_period / 4 * 3;
        let write = if is_late { Duration::ZERO } else { Self::SHUTDOWN_WRITE };
        Limits { head: self.head.min(Self::SHUTDOWN_HEAD), write, ..self.normal() }
    }
}

/// The limits that hold for connections at the moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For a head.
    pub(crate) head: Duration,
    /// Until the client takes some of its answer.
    pub(crate) write: Duration,
    /// Between two requests, in ticks.
    pub(crate) keep_alive: u32,
}
