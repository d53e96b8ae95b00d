//! A client's connection, with the time limits that actix-web lacks.
//!
//! actix-web bounds the time of the first head on a connection only. Here every head has to be complete in
//! time, and a client that takes no more of its answer is left.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use actix_web::rt::net::TcpStream;
use prometheus_client::metrics::gauge::Gauge;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long a client may take nothing of its answer.
const WRITE_TIMEOUT: Duration = Duration::from_mins(1);

/// What a client gets whose head is not complete in time; it has sent no request that could be logged.
const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// The connections of one worker.
#[derive(Clone)]
pub(crate) struct Connections {
    open: Gauge,
    tls: Option<TlsAcceptor>,
    /// A handshake has as much time as a head.
    handshake_timeout: Duration,
    known: Rc<RefCell<Vec<Weak<ConnectionState>>>>,
}

impl Connections {
    /// Starts to watch over connections. Must be called on the worker's thread.
    pub(crate) fn new(open: Gauge, head_timeout: Duration, tls: Option<Arc<ServerConfig>>) -> Self {
        let known = Rc::<RefCell<Vec<Weak<ConnectionState>>>>::default();
        let watched = Rc::clone(&known);
        // One timer for all: a timer for each request would cost more than the request.
        let tick = (head_timeout / 8).clamp(Duration::from_millis(10), Duration::from_secs(1));
        actix_web::rt::spawn(async move {
            loop {
                tokio::time::sleep(tick).await;
                watched.borrow_mut().retain(|state| {
                    state.upgrade().inspect(|state| state.expire(head_timeout)).is_some()
                });
            }
        });
        Self { open, tls: tls.map(TlsAcceptor::from), handshake_timeout: head_timeout, known }
    }

    /// Takes a connection over, once the two sides have agreed how to speak.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<(Connection, SocketAddr)> {
        stream.set_nodelay(true)?;
        let peer = stream.peer_addr()?;
        let open = Open::new(&self.open);
        let stream = match &self.tls {
            None => Stream::Plain(stream),
            Some(tls) => {
                let handshake = timeout(self.handshake_timeout, tls.accept(stream)).await;
                Stream::Tls(Box::new(
                    handshake.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))?,
                ))
            }
        };
        let state = Rc::new(ConnectionState {
            tls: self.tls.is_some(),
            waiting_since: Cell::new(Some(Instant::now())),
            ..ConnectionState::default()
        });
        self.known.borrow_mut().push(Rc::downgrade(&state));
        Ok((Connection { stream, state, _open: open }, peer))
    }
}

/// Counts a connection for as long as it lives.
#[derive(Debug)]
struct Open(Gauge);

impl Open {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A connection that ends when its client is too slow.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    state: Rc<ConnectionState>,
    _open: Open,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    /// Boxed: a session is some kilobytes.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// How far a client is.
#[derive(Debug, Default)]
pub(crate) struct ConnectionState {
    /// The client speaks HTTPS.
    tls: bool,
    /// Requests that are being answered.
    busy: Cell<u32>,
    /// Since when a head is awaited; none between requests.
    waiting_since: Cell<Option<Instant>>,
    /// Some of a head is there.
    head_begun: Cell<bool>,
    /// Since when the client takes nothing.
    blocked_since: Cell<Option<Instant>>,
    too_slow: Cell<bool>,
    reader: RefCell<Option<Waker>>,
    writer: RefCell<Option<Waker>>,
}

impl ConnectionState {
    pub(crate) fn is_tls(&self) -> bool {
        self.tls
    }

    /// A head is complete: until its answer is, time limits are the handler's.
    pub(crate) fn request_begins(&self) {
        self.busy.set(self.busy.get() + 1);
        self.waiting_since.set(None);
        self.head_begun.set(false);
    }

    pub(crate) fn request_ends(&self) {
        self.busy.set(self.busy.get().saturating_sub(1));
    }

    fn expire(&self, head_timeout: Duration) {
        let over = |since: &Cell<Option<Instant>>, limit| {
            since.get().is_some_and(|since| since.elapsed() >= limit)
        };
        if over(&self.waiting_since, head_timeout) || over(&self.blocked_since, WRITE_TIMEOUT) {
            self.too_slow.set(true);
            for waker in [&self.reader, &self.writer] {
                if let Some(waker) = waker.borrow_mut().take() {
                    waker.wake();
                }
            }
        }
    }
}

impl Connection {
    pub(crate) fn state(&self) -> Rc<ConnectionState> {
        Rc::clone(&self.state)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, state, .. } = self.get_mut();
        if state.too_slow.get() {
            if state.head_begun.replace(false) {
                // The answer is a courtesy: whoever reads this slowly may not see it.
                let _ = Pin::new(&mut *stream).poll_write(cx, REQUEST_TIMEOUT);
                let _ = Pin::new(stream).poll_flush(cx);
            }
            // The end of the stream, as if the client had closed it.
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(stream).poll_read(cx, buffer);
        match &read {
            Poll::Ready(Ok(())) if state.busy.get() == 0 && buffer.filled().len() > before => {
                if state.waiting_since.get().is_none() {
                    state.waiting_since.set(Some(Instant::now()));
                }
                state.head_begun.set(true);
            }
            Poll::Pending if state.waiting_since.get().is_some() => {
                state.reader.replace(Some(cx.waker().clone()));
            }
            _ => {}
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, state, .. } = self.get_mut();
        if state.too_slow.get() && state.blocked_since.get().is_some() {
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        let written = Pin::new(stream).poll_write(cx, bytes);
        if written.is_pending() {
            if state.blocked_since.get().is_none() {
                state.blocked_since.set(Some(Instant::now()));
            }
            state.writer.replace(Some(cx.waker().clone()));
        } else {
            state.blocked_since.set(None);
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
