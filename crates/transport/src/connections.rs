//! The connections of a worker: how they begin, and what ends those of slow and of idle clients.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Instant;

use actix_http::ServiceConfig;
use actix_web::rt::net::TcpStream;
use common::memory::MemoryUse;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::clients::ClientPermit;
use crate::connection::Connection;
use crate::limits::TimeLimits;
use crate::state::{ConnectionState, Scheme};
use crate::stream::Stream;

/// What a TLS session takes of the memory budget, beside what every connection does.
const TLS_BYTES: usize = 20 * 1024;

/// How the connections of a worker are served.
#[derive(Clone)]
pub(crate) struct ConnectionSettings {
    pub(crate) limits: TimeLimits,
    /// None for plain HTTP.
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
    /// The listener is closed: clients have less time.
    pub(crate) closing: CancellationToken,
    /// Idle connections end.
    pub(crate) end_idle: CancellationToken,
}

/// The connections of one worker.
#[derive(Clone)]
pub(crate) struct Connections {
    tls: Option<TlsAcceptor>,
    limits: TimeLimits,
    closing: CancellationToken,
    known: Rc<RefCell<Vec<Weak<ConnectionState>>>>,
}

impl Connections {
    /// Starts to watch over connections. Must be called on the worker's thread.
    pub(crate) fn new(settings: ConnectionSettings) -> Self {
        let ConnectionSettings { limits, tls, closing, end_idle } = settings;
        let known = Rc::<RefCell<Vec<Weak<ConnectionState>>>>::default();
        let (watched, listener_closed) = (Rc::clone(&known), closing.clone());
        actix_web::rt::spawn(async move {
            let (tick, mut closed_at) = (limits.tick(), None);
            loop {
                let end_idle = timeout(tick, end_idle.cancelled()).await.is_ok();
                let current = if listener_closed.is_cancelled() {
                    limits.shutdown(closed_at.get_or_insert_with(Instant::now).elapsed())
                } else {
                    limits.normal()
                };
                watched.borrow_mut().retain(|state| {
                    let Some(state) = state.upgrade() else { return false };
                    if end_idle {
                        state.end_when_idle();
                    }
                    state.expire(&current);
                    true
                });
                if end_idle {
                    sleep(tick).await;
                }
            }
        });
        Self { tls: tls.map(TlsAcceptor::from), limits, closing, known }
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
                    permit.quota().count_refusal(MemoryUse::Connections);
                    return Ok(None);
                }
                let too_late = async {
                    self.closing.cancelled().await;
                    sleep(TimeLimits::SHUTDOWN_HEAD).await;
                };
                let handshake = tokio::select! {
                    handshake = timeout(self.limits.head, tls.accept(stream)) => handshake,
                    () = too_late => return Err(ErrorKind::TimedOut.into()),
                };
                Stream::Tls(Box::new(
                    handshake.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))?,
                ))
            }
        };
        let scheme = if self.tls.is_some() { Scheme::Https } else { Scheme::Http };
        let state = Rc::new(ConnectionState::new(scheme, permit));
        self.known.borrow_mut().push(Rc::downgrade(&state));
        Ok(Some(Connection::new(stream, state, config)))
    }
}
