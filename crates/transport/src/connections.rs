//! The connections of a worker: how they begin, and what ends those of slow and of idle clients.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_http::ServiceConfig;
use actix_web::rt::net::TcpStream;
use common::memory::MemoryUse;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::clients::ClientPermit;
use crate::connection::Connection;
use crate::state::{ConnectionState, Limits};
use crate::stream::Stream;

/// What a TLS session takes beside that.
const TLS_BYTES: usize = 20 * 1024;

/// How long an idle connection is kept for the next request: longer than the 60 s of common load
/// balancers, so that the balancer and not the server ends it.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// How long a client may take nothing of its answer.
const WRITE_TIMEOUT: Duration = Duration::from_mins(1);

/// The same once the listener is closed: whoever takes nothing now would not have it all before the process ends.
const CLOSING_WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a head or a handshake may take once the listener is closed.
const CLOSING_HEAD_TIMEOUT: Duration = Duration::from_secs(1);

/// The connections of one worker.
#[derive(Clone)]
pub(crate) struct Connections {
    tls: Option<TlsAcceptor>,
    /// A handshake has as much time as a head.
    handshake_timeout: Duration,
    closing: CancellationToken,
    known: Rc<RefCell<Vec<Weak<ConnectionState>>>>,
}

impl Connections {
    /// Starts to watch over connections. With `closing` clients have less time, and idle connections end with
    /// `end_idle`. Must be called on the worker's thread.
    pub(crate) fn new(
        head_timeout: Duration,
        grace_period: Duration,
        tls: Option<Arc<rustls::ServerConfig>>,
        closing: CancellationToken,
        end_idle: CancellationToken,
    ) -> Self {
        let known = Rc::<RefCell<Vec<Weak<ConnectionState>>>>::default();
        let watched = Rc::clone(&known);
        // One timer for all: a timer for each request would cost more than the request.
        let tick = (head_timeout / 8).clamp(Duration::from_millis(10), Duration::from_secs(1));
        let keep_alive = ticks(KEEP_ALIVE, tick);
        let usual = Limits { head: head_timeout, write: WRITE_TIMEOUT, keep_alive };
        let head = head_timeout.min(CLOSING_HEAD_TIMEOUT);
        let hurried = Limits { head, write: CLOSING_WRITE_TIMEOUT, keep_alive };
        let stop = closing.clone();
        actix_web::rt::spawn(async move {
            let mut closed_at = None;
            loop {
                let ended = timeout(tick, end_idle.cancelled()).await.is_ok();
                let mut limits = usual;
                if stop.is_cancelled() {
                    limits = hurried;
                    // Whoever is not done now is ended while the process still can tell why.
                    if closed_at.get_or_insert_with(Instant::now).elapsed() > grace_period / 4 * 3 {
                        limits.write = Duration::ZERO;
                    }
                }
                watched.borrow_mut().retain(|state| {
                    state.upgrade().inspect(|state| state.expire(&limits, ended)).is_some()
                });
                if ended {
                    sleep(tick).await;
                }
            }
        });
        Self { tls: tls.map(TlsAcceptor::from), handshake_timeout: head_timeout, closing, known }
    }

    /// Takes a connection over: the two sides agree how to speak.
    ///
    /// None if there is no memory for that.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        mut permit: ClientPermit,
        config: ServiceConfig,
    ) -> io::Result<Option<Connection>> {
        stream.set_nodelay(true)?;
        let stream = match &self.tls {
            None => Stream::Plain(stream),
            Some(tls) => {
                if permit.grow(TLS_BYTES).is_err() {
                    permit.clients().count_refusal(MemoryUse::Connections);
                    return Ok(None);
                }
                let too_late = async {
                    self.closing.cancelled().await;
                    sleep(CLOSING_HEAD_TIMEOUT).await;
                };
                let handshake = tokio::select! {
                    handshake = timeout(self.handshake_timeout, tls.accept(stream)) => handshake,
                    () = too_late => return Err(ErrorKind::TimedOut.into()),
                };
                Stream::Tls(Box::new(
                    handshake.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))?,
                ))
            }
        };
        let state = Rc::new(ConnectionState::new(self.tls.is_some(), permit));
        self.known.borrow_mut().push(Rc::downgrade(&state));
        Ok(Some(Connection::new(stream, state, config)))
    }
}

/// How many ticks make this time, at least one.
fn ticks(time: Duration, tick: Duration) -> u32 {
    u32::try_from(time.as_millis() / tick.as_millis().max(1)).unwrap_or(u32::MAX).max(1)
}
