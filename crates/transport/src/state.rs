//! How far a client is with its request, and what is held for it.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use common::Problem;
use common::memory::MemoryUse;

use crate::clients::ClientPermit;

/// When a client may try again for whose request there is no memory.
const RETRY_AFTER: Duration = Duration::from_secs(1);

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

/// What a request in progress takes of the memory budget, beside its body and its answer.
const REQUEST_BYTES: usize = 4 * 1024;

/// After how many ticks an idle connection gives back what a request takes: for one that is busy it stays taken.
const GIVEN_BACK_AFTER: u32 = 2;

/// How far a client is, and what is held for it.
#[derive(Debug)]
pub struct ConnectionState {
    tls: bool,
    /// A request is in progress.
    busy: Cell<bool>,
    /// Since when a head is awaited; none between requests.
    waiting_since: Cell<Option<Instant>>,
    /// Some of a head is there.
    head_begun: Cell<bool>,
    /// Since when the client takes nothing.
    blocked_since: Cell<Option<Instant>>,
    too_slow: Cell<bool>,
    /// The connection is to end as soon as it is idle.
    ended: Cell<bool>,
    /// For how many ticks it has been idle.
    idle_ticks: Cell<u32>,
    /// Of the task that waits for the client.
    waker: RefCell<Option<Waker>>,
    /// What the connection takes of the memory budget.
    permit: RefCell<ClientPermit>,
    /// Whether what a request takes is part of that.
    charged: Cell<bool>,
    /// What the request takes for its body and its answer.
    request_permits: RefCell<Vec<ClientPermit>>,
}

impl ConnectionState {
    pub(crate) fn new(tls: bool, permit: ClientPermit) -> Self {
        Self {
            tls,
            busy: Cell::default(),
            waiting_since: Cell::new(Some(Instant::now())),
            head_begun: Cell::default(),
            blocked_since: Cell::default(),
            too_slow: Cell::default(),
            ended: Cell::default(),
            idle_ticks: Cell::default(),
            waker: RefCell::default(),
            permit: RefCell::new(permit),
            charged: Cell::default(),
            request_permits: RefCell::default(),
        }
    }

    /// Whether the client speaks HTTPS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls
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

    pub(crate) fn count_refusal(&self, of: MemoryUse) {
        self.permit.borrow().clients().count_refusal(of);
    }

    /// Takes more for the connection. Returns whether there is memory for it.
    pub(crate) fn grow(&self, bytes: usize) -> bool {
        self.permit.borrow_mut().grow(bytes).is_ok()
    }

    pub(crate) fn shrink(&self, bytes: usize) {
        self.permit.borrow_mut().shrink(bytes);
    }

    /// Takes what a request needs. Returns whether there is memory for it.
    pub(crate) fn charge_request(&self, is_probe: bool) -> bool {
        if self.charged.get() {
            return true;
        }
        let mut permit = self.permit.borrow_mut();
        let fits = if is_probe {
            permit.grow_into_reserve(REQUEST_BYTES)
        } else {
            permit.grow(REQUEST_BYTES)
        };
        self.charged.set(fits.is_ok());
        fits.is_ok()
    }

    fn give_request_back(&self) {
        if self.charged.replace(false) {
            self.shrink(REQUEST_BYTES);
        }
    }

    /// Some of a head is there, and the rest has to come in time.
    pub(crate) fn head_begins(&self) {
        if self.waiting_since.get().is_none() {
            self.waiting_since.set(Some(Instant::now()));
        }
        self.head_begun.set(true);
    }

    pub(crate) fn has_begun_head(&self) -> bool {
        self.head_begun.get()
    }

    /// A head is complete: until its answer is, time limits are the handler's.
    pub(crate) fn request_begins(&self) {
        self.busy.set(true);
        self.waiting_since.set(None);
        self.head_begun.set(false);
    }

    /// The answer was written, and the next head may come.
    pub(crate) fn request_ends(&self) {
        self.busy.set(false);
        self.idle_ticks.set(0);
        // What a request has taken often takes a lock to give back.
        if !self.request_permits.borrow().is_empty() {
            self.request_permits.borrow_mut().clear();
        }
        let is_scarce = self.permit.borrow().clients().is_scarce();
        if is_scarce {
            self.give_request_back();
        }
    }

    /// Notes whether the client takes what is written.
    pub(crate) fn note_write(&self, blocked: bool) {
        if !blocked {
            self.blocked_since.set(None);
        } else if self.blocked_since.get().is_none() {
            self.blocked_since.set(Some(Instant::now()));
        }
    }

    pub(crate) fn is_blocked_for_long(&self) -> bool {
        self.too_slow.get() && self.blocked_since.get().is_some()
    }

    pub(crate) fn is_too_slow(&self) -> bool {
        self.too_slow.get()
    }

    /// Whether the connection is to end before its next request.
    pub(crate) fn is_to_end(&self) -> bool {
        self.ended.get() && self.is_idle()
    }

    /// Has the task woken that waits for the client, when the client's time is over.
    pub(crate) fn wait(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    /// Between two requests, or before the first.
    fn is_idle(&self) -> bool {
        !self.busy.get() && !self.head_begun.get()
    }

    /// Ends the connection if its client is too slow, or was idle for long; `ended` if it is to end when idle.
    pub(crate) fn expire(&self, limits: &Limits, ended: bool) {
        let over = |since: &Cell<Option<Instant>>, limit| {
            since.get().is_some_and(|since| since.elapsed() >= limit)
        };
        if over(&self.waiting_since, limits.head) || over(&self.blocked_since, limits.write) {
            self.too_slow.set(true);
        }
        if self.waiting_since.get().is_none() && self.is_idle() {
            self.idle_ticks.set(self.idle_ticks.get() + 1);
            if self.idle_ticks.get() >= GIVEN_BACK_AFTER {
                self.give_request_back();
            }
        }
        if ended || self.idle_ticks.get() > limits.keep_alive {
            self.ended.set(true);
        }
        if (self.too_slow.get() || self.ended.get())
            && let Some(waker) = self.waker.borrow_mut().take()
        {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use common::memory::MemoryBudget;

    use super::*;
    use crate::clients::Clients;

    #[test]
    fn a_connection_ends_when_it_was_idle_for_as_long_as_it_is_kept() {
        let budget = MemoryBudget::unobserved(u64::MAX);
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
        assert!(state.charge_request(false));
        state.request_begins();
        assert!(!expire(9), "a request is in progress");
        assert!(state.charged.get());
        state.request_ends();
        assert!(!expire(3));
        assert!(!state.charged.get(), "what a request takes is given back");
        state.request_begins();
        state.request_ends();
        assert!(!expire(3), "the time begins anew with each request");
        assert!(expire(1));
    }
}
