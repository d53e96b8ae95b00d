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
use crate::limits::Limits;

/// When a client may try again for whose request there is no memory.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The scheme that a client's URL has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Scheme {
    /// As URLs have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// What a request in progress takes of the memory budget, beside its body and its answer.
const REQUEST_BYTES: usize = 4 * 1024;

/// After how many ticks an idle connection gives back what a request takes: for one that is busy it stays taken.
const GIVEN_BACK_AFTER: u32 = 2;

/// How far a client is, and what is held for it.
#[derive(Debug)]
pub struct ConnectionState {
    scheme: Scheme,
    /// A request is in progress.
    busy: Cell<bool>,
    /// Since when a head is awaited; none between requests.
    waiting_since: Cell<Option<Instant>>,
    /// Some of a head is there.
    head_begun: Cell<bool>,
    /// Since when the client takes nothing.
    blocked_since: Cell<Option<Instant>>,
    too_slow: Cell<bool>,
    /// The connection ends as soon as it is idle.
    ends_when_idle: Cell<bool>,
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
    pub(crate) fn new(scheme: Scheme, permit: ClientPermit) -> Self {
        Self {
            scheme,
            busy: Cell::default(),
            waiting_since: Cell::new(Some(Instant::now())),
            head_begun: Cell::default(),
            blocked_since: Cell::default(),
            too_slow: Cell::default(),
            ends_when_idle: Cell::default(),
            idle_ticks: Cell::default(),
            waker: RefCell::default(),
            permit: RefCell::new(permit),
            charged: Cell::default(),
            request_permits: RefCell::default(),
        }
    }

    /// Whether the connection is one over TLS.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Takes memory for a request of this client until the request ends.
    ///
    /// # Errors
    /// 503 when there is none; the refusal is counted.
    pub fn take(&self, client: IpAddr, of: MemoryUse, bytes: usize) -> Result<(), Problem> {
        let quota = Arc::clone(self.permit.borrow().quota());
        let permit = quota.take(client, of, bytes).map_err(|exhausted| {
            quota.count_refusal(of);
            Problem::new(StatusCode::SERVICE_UNAVAILABLE)
                .detail("the memory that requests of this client or of all may take is in use")
                .retry_after(RETRY_AFTER)
                .caused_by(exhausted)
        })?;
        self.request_permits.borrow_mut().push(permit);
        Ok(())
    }

    pub(crate) fn count_refusal(&self, of: MemoryUse) {
        self.permit.borrow().quota().count_refusal(of);
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
        let is_scarce = self.permit.borrow().quota().is_scarce();
        if is_scarce {
            self.give_request_back();
        }
    }

    /// Notes that the client takes what is written.
    pub(crate) fn note_write_progress(&self) {
        self.blocked_since.set(None);
    }

    /// Notes that the client takes nothing for now.
    pub(crate) fn note_write_blocked(&self) {
        if self.blocked_since.get().is_none() {
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
        self.ends_when_idle.get() && self.is_idle()
    }

    /// Registers the task that waits for the client, to be woken when the client's time is over.
    pub(crate) fn register_waker(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    /// Between two requests, or before the first.
    fn is_idle(&self) -> bool {
        !self.busy.get() && !self.head_begun.get()
    }

    /// Ends the connection if its client is too slow, or was idle for long.
    pub(crate) fn expire(&self, limits: &Limits) {
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
        if self.idle_ticks.get() > limits.keep_alive {
            self.end_when_idle();
        }
        if (self.too_slow.get() || self.ends_when_idle.get())
            && let Some(waker) = self.waker.borrow_mut().take()
        {
            waker.wake();
        }
    }

    /// Ends the connection as soon as it is idle, from the next [`Self::expire`] on.
    pub(crate) fn end_when_idle(&self) {
        self.ends_when_idle.set(true);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use common::memory::Budget;

    use super::*;
    use crate::clients::ClientQuota;

    #[test]
    fn a_connection_ends_when_it_was_idle_for_as_long_as_it_is_kept() {
        let budget = Budget::without_metrics(u64::MAX);
        let quota = Arc::new(ClientQuota::new(budget, 1.0));
        let permit = quota.take(Ipv4Addr::LOCALHOST.into(), MemoryUse::Connections, 1).unwrap();
        let state = ConnectionState::new(Scheme::Http, permit);
        let limits = Limits { head: Duration::MAX, write: Duration::MAX, keep_alive: 3 };
        let expire = |times| {
            for _ in 0..times {
                state.expire(&limits);
            }
            state.ends_when_idle.get()
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
