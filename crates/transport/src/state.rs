//! How far a client is with its request, and what is held for it.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use common::Problem;
use common::memory::MemoryUse;

use crate::clients::ClientPermit;

/// When a client may try again for whose request there is no memory.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What is read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// A head.
    Head,
    /// Nothing, until it is known whether the request has a body.
    Undecided,
    /// So many bytes of a body.
    Body(u64),
    /// A body whose end only its decoder sees.
    Stream,
    /// Nothing, until the request has ended.
    Nothing,
}

/// The body of a request, as its head announces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// None.
    Nothing,
    /// So many bytes.
    Length(u64),
    /// One of unknown length.
    Unknown,
}

/// Who reads a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its task, which waits for a head.
    Reading,
    /// A dispatcher.
    Serving,
    /// A dispatcher, from which it is to be taken.
    Parking,
    /// Nobody: the dispatcher was told that the stream has ended.
    Parked,
}

/// How long clients may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For a head.
    pub(crate) head: Duration,
    /// Until it takes some of its answer.
    pub(crate) write: Duration,
    /// Between two requests, in ticks.
    pub(crate) keep_alive: u32,
}

/// After how many ticks an idle connection leaves its dispatcher: a busy one shall not come and go.
const PARKED_AFTER: u32 = 2;

/// How far a client is, and what is held for it.
#[derive(Debug)]
pub struct ConnectionState {
    /// The client speaks HTTPS.
    pub(crate) tls: bool,
    /// Requests that are being answered.
    pub(crate) busy: Cell<u32>,
    /// Since when a head is awaited; none between requests.
    pub(crate) waiting_since: Cell<Option<Instant>>,
    /// Some of a head is there.
    pub(crate) head_begun: Cell<bool>,
    /// Since when the client takes nothing.
    pub(crate) blocked_since: Cell<Option<Instant>>,
    pub(crate) incoming: Cell<Incoming>,
    /// There is something to read that is not wanted yet.
    pub(crate) more_to_read: Cell<bool>,
    /// How much of a body was passed on together with its head.
    pub(crate) body_read: Cell<u64>,
    pub(crate) too_slow: Cell<bool>,
    /// The connection is to end as soon as it is idle.
    pub(crate) ended: Cell<bool>,
    pub(crate) phase: Cell<Phase>,
    /// For how many ticks it has been idle.
    pub(crate) idle_ticks: Cell<u32>,
    pub(crate) reader: RefCell<Option<Waker>>,
    pub(crate) writer: RefCell<Option<Waker>>,
    /// What the connection takes of the memory budget.
    pub(crate) permit: RefCell<ClientPermit>,
    /// What its request takes beside that.
    pub(crate) request_permits: RefCell<Vec<ClientPermit>>,
}

impl ConnectionState {
    pub(crate) fn new(tls: bool, permit: ClientPermit) -> Self {
        Self {
            tls,
            busy: Cell::default(),
            waiting_since: Cell::new(Some(Instant::now())),
            head_begun: Cell::default(),
            blocked_since: Cell::default(),
            incoming: Cell::new(Incoming::Head),
            more_to_read: Cell::default(),
            body_read: Cell::default(),
            too_slow: Cell::default(),
            ended: Cell::default(),
            phase: Cell::new(Phase::Reading),
            idle_ticks: Cell::default(),
            reader: RefCell::default(),
            writer: RefCell::default(),
            permit: RefCell::new(permit),
            request_permits: RefCell::default(),
        }
    }

    /// Whether the client speaks HTTPS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// A head is complete: until its answer is, time limits are the handler's.
    pub fn request_begins(&self, body: Announced) {
        self.busy.set(self.busy.get() + 1);
        self.waiting_since.set(None);
        self.head_begun.set(false);
        let read = self.body_read.take();
        self.incoming.set(match body {
            Announced::Length(length) if length > read => Incoming::Body(length - read),
            Announced::Unknown => Incoming::Stream,
            Announced::Length(_) | Announced::Nothing => Incoming::Nothing,
        });
        if self.incoming.get() != Incoming::Nothing {
            self.read_on();
        }
    }

    /// The answer is complete, and the next head may come.
    pub fn request_ends(&self) {
        self.busy.set(self.busy.get().saturating_sub(1));
        if self.busy.get() == 0 {
            // What a request has taken often takes a lock to give back.
            if !self.request_permits.borrow().is_empty() {
                self.request_permits.borrow_mut().clear();
            }
            self.idle_ticks.set(0);
            // Else the rest of its body comes first, which nobody wants.
            if self.incoming.get() == Incoming::Nothing {
                self.incoming.set(Incoming::Head);
                self.read_on();
            }
        }
    }

    /// Takes memory for a request of this client until the request ends.
    ///
    /// # Errors
    /// 503 when there is none; the refusal is counted.
    pub fn take(&self, client: IpAddr, of: MemoryUse, bytes: usize) -> Result<(), Problem> {
        let clients = Arc::clone(self.permit.borrow().clients());
        let permit = clients.take(client, of, bytes).map_err(|exhausted| {
            clients.count_refusal(of);
            Problem::new(StatusCode::SERVICE_UNAVAILABLE)
                .detail("the memory that requests of this client or of all may take is in use")
                .retry_after(RETRY_AFTER)
                .caused_by(exhausted)
        })?;
        self.request_permits.borrow_mut().push(permit);
        Ok(())
    }

    /// Wakes the reader if there is something that it was told not to want.
    fn read_on(&self) {
        if self.more_to_read.replace(false)
            && let Some(waker) = self.reader.borrow_mut().take()
        {
            waker.wake();
        }
    }

    /// Between two requests, or before the first.
    pub(crate) fn is_idle(&self) -> bool {
        self.busy.get() == 0 && !self.head_begun.get()
    }

    /// Ends the connection if its client is too slow, or was idle for long; `ended` if it is to end when idle.
    pub(crate) fn expire(&self, limits: &Limits, ended: bool) {
        let over = |since: &Cell<Option<Instant>>, limit| {
            since.get().is_some_and(|since| since.elapsed() >= limit)
        };
        if over(&self.waiting_since, limits.head) || over(&self.blocked_since, limits.write) {
            self.too_slow.set(true);
        }
        let mut parking = false;
        if self.waiting_since.get().is_none() && self.is_idle() {
            let ticks = self.idle_ticks.get() + 1;
            self.idle_ticks.set(ticks);
            parking = ticks >= PARKED_AFTER
                && self.phase.get() == Phase::Serving
                && self.blocked_since.get().is_none();
            if parking {
                self.phase.set(Phase::Parking);
            }
        }
        if ended || self.idle_ticks.get() > limits.keep_alive {
            self.ended.set(true);
        }
        if self.too_slow.get() || self.ended.get() || parking {
            for waker in [&self.reader, &self.writer] {
                if let Some(waker) = waker.borrow_mut().take() {
                    waker.wake();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use common::memory::{MemoryBudget, MemoryLimit};
    use common::{Metrics, Service};

    use super::*;
    use crate::clients::Clients;

    #[test]
    fn a_connection_ends_when_it_was_idle_for_as_long_as_it_is_kept() {
        let service = Service {
            name: "t",
            version: "0",
            description: "",
            readme: "",
            log_name: "t",
            default_port: 0,
        };
        let budget = MemoryBudget::new(MemoryLimit::NONE, &Metrics::new(&service));
        let clients = Arc::new(Clients::new(budget, 1.0));
        let permit = clients.take(Ipv4Addr::LOCALHOST.into(), MemoryUse::Connections, 1).unwrap();
        let state = ConnectionState::new(false, permit);
        let limits = Limits { head: Duration::MAX, write: Duration::MAX, keep_alive: 3 };
        let expire = |times| {
            for _ in 0..times {
                state.expire(&limits, false);
            }
            state.ended.get()
        };

        assert!(!expire(9), "its first head has a limit of its own");
        state.phase.set(Phase::Serving);
        state.request_begins(Announced::Nothing);
        assert!(!expire(9), "a request is in progress");
        state.request_ends();
        assert!(!expire(3));
        assert_eq!(state.phase.get(), Phase::Parking);
        state.request_begins(Announced::Nothing);
        state.request_ends();
        assert!(!expire(3), "the time begins anew with each request");
        assert!(expire(1));
    }
}
