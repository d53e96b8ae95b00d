//! A client's connection: its time limits, and what is read of it when.
//!
//! actix-http reads as much as a client sends, decodes up to sixteen requests ahead, and bounds the time of the first
//! head alone. Here a connection costs little until a head is complete, every head has to be complete in time, and
//! while a request is in progress nothing is read but its body: a client that sends ahead fills its own buffers.
//! A connection that stays idle leaves the dispatcher, with whose buffers it would cost four times as much, and gets
//! a new one with its next request.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_web::rt::net::TcpStream;
use common::memory::MemoryUse;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::clients::ClientPermit;
use crate::head::{self, HeadEnd};
use crate::refusals::{REQUEST_TIMEOUT, UNAVAILABLE};
use crate::state::{ConnectionState, Incoming, Limits, Phase};
use crate::stream::Stream;

/// What a connection takes of the memory budget from its acceptance on: its task, its socket, the beginning of a head.
pub(crate) const CONNECTION_BYTES: usize = 3 * 1024;

/// What a TLS session takes beside that.
const TLS_BYTES: usize = 20 * 1024;

/// What a connection takes beside that once a head is complete: actix-http's buffers, a request in progress.
const REQUEST_BYTES: usize = 15 * 1024;

/// How many bytes of a head a connection holds without taking more.
const HEAD_BYTES: usize = 512;

/// From this size on a head is actix-http's to judge, which refuses it at 128 KiB.
const MAX_HEAD_BYTES: usize = 8 * 1024;

/// The connections of one worker.
#[derive(Clone)]
pub(crate) struct Connections {
    tls: Option<TlsAcceptor>,
    /// A handshake has as much time as a head.
    handshake_timeout: Duration,
    closing: CancellationToken,
    known: Rc<RefCell<Vec<Weak<ConnectionState>>>>,
}

/// How long an idle connection is kept for the next request: longer than the 60 s of common load
/// balancers, so that the balancer and not the server ends it.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// How long a client may take nothing of its answer.
const WRITE_TIMEOUT: Duration = Duration::from_mins(1);

/// The same once the listener is closed: whoever takes nothing now would not have it all before the process ends.
const CLOSING_WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a head or a handshake may take once the listener is closed.
const CLOSING_HEAD_TIMEOUT: Duration = Duration::from_secs(1);

impl Connections {
    /// Starts to watch over connections. With `closing` clients have less time, and idle connections end with
    /// `end_idle`. Must be called on the worker's thread.
    pub(crate) fn new(
        head_timeout: Duration,
        tls: Option<Arc<ServerConfig>>,
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
            loop {
                let ended = timeout(tick, end_idle.cancelled()).await.is_ok();
                let limits = if stop.is_cancelled() { hurried } else { usual };
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
        let socket = Socket { stream, state, ahead: Vec::new(), head_end: HeadEnd::default() };
        Ok(Some(Connection(Rc::new(RefCell::new(socket)))))
    }
}

/// How many ticks make this time, at least one.
fn ticks(time: Duration, tick: Duration) -> u32 {
    u32::try_from(time.as_millis() / tick.as_millis().max(1)).unwrap_or(u32::MAX).max(1)
}

/// A client's connection; its task and the dispatcher of a request hold the same one.
#[derive(Clone, Debug)]
pub(crate) struct Connection(Rc<RefCell<Socket>>);

#[derive(Debug)]
struct Socket {
    stream: Stream,
    state: Rc<ConnectionState>,
    /// What was read and is not passed on yet.
    ahead: Vec<u8>,
    head_end: HeadEnd,
}

impl Connection {
    pub(crate) fn state(&self) -> Rc<ConnectionState> {
        Rc::clone(&self.0.borrow().state)
    }

    /// Reads until a head is complete, or is one for actix-http to refuse. Returns whether there is one: the client
    /// may leave, be too slow, or there may be no memory for its request.
    pub(crate) async fn read_head(&self) -> io::Result<bool> {
        let mut charged = 0;
        loop {
            if !self.0.borrow_mut().make_room(&mut charged) {
                self.refuse().await;
                return Ok(false);
            }
            if poll_fn(|cx| self.0.borrow_mut().poll_ahead(cx)).await? == 0 {
                return Ok(false);
            }
            if self.0.borrow().has_head() {
                break;
            }
        }
        if !self.0.borrow_mut().begin(charged) {
            self.refuse().await;
            return Ok(false);
        }
        Ok(true)
    }

    /// Takes an idle connection back from its dispatcher. Returns false if that has ended for another reason, and the
    /// connection with it.
    pub(crate) fn take_back(&self) -> bool {
        let state = &self.0.borrow().state;
        let taken = state.phase.replace(Phase::Reading) == Phase::Parked;
        if taken {
            state.permit.borrow_mut().shrink(REQUEST_BYTES);
        }
        taken
    }

    async fn refuse(&self) {
        self.state().permit.borrow().clients().count_refusal(MemoryUse::Connections);
        // The answer is a courtesy: whoever does not take it at once does not see it.
        poll_fn(|cx| {
            let stream = &mut self.0.borrow_mut().stream;
            let _ = Pin::new(&mut *stream).poll_write(cx, UNAVAILABLE);
            let _ = Pin::new(stream).poll_flush(cx);
            Poll::Ready(())
        })
        .await;
    }

    /// Says goodbye where the protocol has a word for it, and does not wait for an answer.
    pub(crate) async fn close(&self) {
        poll_fn(|cx| {
            let _ = Pin::new(&mut self.0.borrow_mut().stream).poll_shutdown(cx);
            Poll::Ready(())
        })
        .await;
    }
}

impl Socket {
    /// Makes room for more of a head, the least that may be read at once. Returns whether there is memory for it.
    fn make_room(&mut self, charged: &mut usize) -> bool {
        if self.ahead.capacity() > self.ahead.len() {
            return true;
        }
        let more = self.ahead.len().max(HEAD_BYTES);
        if self.ahead.len() >= HEAD_BYTES {
            if self.state.permit.borrow_mut().grow(more).is_err() {
                return false;
            }
            *charged += more;
        }
        self.ahead.reserve_exact(more);
        true
    }

    fn has_head(&self) -> bool {
        self.ahead.len() >= MAX_HEAD_BYTES || head::is_decided(&self.ahead)
    }

    /// Takes what a request needs, instead of what its head did. Returns whether there is memory for it.
    fn begin(&mut self, charged: usize) -> bool {
        let mut permit = self.state.permit.borrow_mut();
        permit.shrink(charged);
        let fits = if head::is_probe(&self.ahead) {
            permit.grow_into_reserve(REQUEST_BYTES)
        } else {
            permit.grow(REQUEST_BYTES)
        };
        self.state.more_to_read.set(false);
        self.state.phase.set(Phase::Serving);
        fits.is_ok()
    }

    /// Reads more into `ahead`, whose spare capacity is the most that is read. Returns how much, 0 at the end.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.has_ended(cx) {
            return Poll::Ready(Ok(0));
        }
        let Self { stream, ahead, .. } = self;
        let before = ahead.len();
        let room = ahead.capacity() - before;
        ahead.resize(before + room, 0);
        let mut buffer = ReadBuf::new(&mut ahead[before..]);
        let read = Pin::new(stream).poll_read(cx, &mut buffer);
        let length = buffer.filled().len();
        ahead.truncate(before + length);
        match read {
            Poll::Ready(read) => {
                self.note_read(length);
                Poll::Ready(read.map(|()| length))
            }
            Poll::Pending => self.wait(cx),
        }
    }

    /// Notes that the client has sent something.
    fn note_read(&self, length: usize) {
        if length > 0 && self.state.busy.get() == 0 {
            if self.state.waiting_since.get().is_none() {
                self.state.waiting_since.set(Some(Instant::now()));
            }
            self.state.head_begun.set(true);
        }
    }

    /// Whether nothing more is read of this client; one whose head did not come in time is told so.
    fn has_ended(&mut self, cx: &mut Context<'_>) -> bool {
        let Self { stream, state, .. } = self;
        if !state.too_slow.get() {
            return state.ended.get() && state.is_idle();
        }
        if state.head_begun.replace(false) {
            // The answer is a courtesy: whoever reads this slowly may not see it.
            let _ = Pin::new(&mut *stream).poll_write(cx, REQUEST_TIMEOUT);
            let _ = Pin::new(stream).poll_flush(cx);
        }
        true
    }

    fn wait<T>(&self, cx: &Context<'_>) -> Poll<T> {
        let mut reader = self.state.reader.borrow_mut();
        if reader.as_ref().is_none_or(|reader| !reader.will_wake(cx.waker())) {
            *reader = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.has_ended(cx) {
            // The end of the stream, as if the client had closed it.
            return Poll::Ready(Ok(()));
        }
        match self.state.incoming.get() {
            Incoming::Head => {
                let read = self.poll_head(cx, buffer);
                if self.state.phase.get() != Phase::Parking {
                    return read;
                }
                if read.is_pending() {
                    // The same, for the dispatcher alone.
                    self.state.phase.set(Phase::Parked);
                    return Poll::Ready(Ok(()));
                }
                self.state.phase.set(Phase::Serving);
                read
            }
            Incoming::Body(left) => self.poll_body(cx, buffer, left),
            Incoming::Stream => {
                let before = buffer.filled().len();
                let read = self.poll_some(cx, buffer);
                self.note_read(buffer.filled().len() - before);
                read
            }
            Incoming::Undecided | Incoming::Nothing => self.poll_nothing(cx),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { stream, state, .. } = self;
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

    /// Passes on what was read ahead, else what the client sends.
    fn poll_some(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
            return if read.is_pending() { self.wait(cx) } else { read };
        }
        let length = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.ahead[..length]);
        self.ahead.drain(..length);
        if self.ahead.is_empty() {
            self.ahead = Vec::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Passes on a head and no more: what the client has sent behind it waits until it is wanted.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = self.poll_some(cx, buffer);
        let length = buffer.filled().len() - before;
        if !matches!(read, Poll::Ready(Ok(()))) || length == 0 {
            return read;
        }
        self.note_read(length);
        let is_whole = self.head_end.is_at_start();
        let bytes = &buffer.filled()[before..];
        let Some(end) = self.head_end.find(bytes) else {
            return read;
        };
        self.head_end = HeadEnd::default();
        self.state.incoming.set(Incoming::Undecided);
        if end == length {
            return read;
        }
        // A body often comes with its head; it is passed on with it, so that nobody is woken for it.
        let (wanted, behind) = (&bytes[..end], &bytes[end..]);
        let body = if is_whole { head::body_length(wanted) } else { Some(0) };
        let body = body.map_or(behind.len(), |body| {
            usize::try_from(body).unwrap_or(usize::MAX).min(behind.len())
        });
        self.state.body_read.set(body as u64);
        let later = &behind[body..];
        if !later.is_empty() {
            self.ahead.splice(..0, later.iter().copied());
            self.state.more_to_read.set(true);
            let filled = buffer.filled().len() - later.len();
            buffer.set_filled(filled);
        }
        read
    }

    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        left: u64,
    ) -> Poll<io::Result<()>> {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.remaining());
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(most));
        let read = self.poll_some(cx, &mut part);
        let length = part.filled().len();
        buffer.advance(length);
        if length > 0 {
            self.note_read(length);
            self.state.incoming.set(match left - length as u64 {
                0 if self.state.busy.get() > 0 => Incoming::Nothing,
                0 => Incoming::Head,
                left => Incoming::Body(left),
            });
        }
        read
    }

    /// Reads nothing, and notices when the client goes away.
    fn poll_nothing(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            match &mut self.stream {
                Stream::Plain(stream) => {
                    let mut byte = [0];
                    match stream.poll_peek(cx, &mut ReadBuf::new(&mut byte)) {
                        Poll::Ready(Ok(0)) => return Poll::Ready(Ok(())),
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                        Poll::Ready(Ok(_)) => self.state.more_to_read.set(true),
                        Poll::Pending => {}
                    }
                }
                // Below TLS there may be bytes that are no data.
                Stream::Tls(stream) => {
                    let mut bytes = [0; HEAD_BYTES];
                    let mut buffer = ReadBuf::new(&mut bytes);
                    match Pin::new(stream).poll_read(cx, &mut buffer) {
                        Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                            return Poll::Ready(Ok(()));
                        }
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                        Poll::Ready(Ok(())) => self.ahead.extend_from_slice(buffer.filled()),
                        Poll::Pending => {}
                    }
                }
            }
        }
        if !self.ahead.is_empty() {
            self.state.more_to_read.set(true);
        }
        self.wait(cx)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Socket { stream, state, .. } = &mut *self.0.borrow_mut();
        if state.phase.get() == Phase::Parked {
            return Poll::Ready(Ok(()));
        }
        Pin::new(stream).poll_shutdown(cx)
    }
}
