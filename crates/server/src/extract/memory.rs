//! What requests take of the memory budget.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use actix_web::{HttpMessage as _, HttpRequest};
use common::Problem;
use common::context::RequestContext;
use common::memory::MemoryUse;
use transport::ConnectionState;

/// A body up to this size is part of what a request takes of the memory budget.
const SMALL_BODY: usize = 2 * 1024;

/// Larger ones take it in such steps.
const STEP: usize = 4 * 1024;

/// Takes memory that a handler needs until its answer has been taken: for buffers of its own, beyond those that every
/// answer has.
///
/// # Errors
/// 503 with `Retry-After` when there is none; the refusal is counted.
pub fn take_memory(request: &HttpRequest, bytes: usize) -> Result<(), Problem> {
    take(request.extensions().get(), client(), MemoryUse::Responses, bytes)
}

fn take(
    connection: Option<&Rc<ConnectionState>>,
    client: IpAddr,
    of: MemoryUse,
    bytes: usize,
) -> Result<(), Problem> {
    connection.map_or(Ok(()), |connection| connection.take(client, of, bytes))
}

fn client() -> IpAddr {
    let client = RequestContext::with_current(RequestContext::client);
    client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

/// What a body takes until the request ends.
pub(super) struct BodyMemory {
    connection: Option<Rc<ConnectionState>>,
    client: IpAddr,
    taken: usize,
}

impl BodyMemory {
    pub(super) fn of(request: &HttpRequest) -> Self {
        let connection = request.extensions().get().cloned();
        Self { connection, client: client(), taken: SMALL_BODY }
    }

    /// Takes what a body of so many bytes needs, and another copy of it in the handler.
    pub(super) fn take(&mut self, length: usize) -> Result<(), Problem> {
        let needed = (length * 2).saturating_sub(self.taken);
        if needed == 0 {
            return Ok(());
        }
        let step = needed.next_multiple_of(STEP);
        self.taken += step;
        take(self.connection.as_ref(), self.client, MemoryUse::Bodies, step).map_err(Problem::close)
    }
}
