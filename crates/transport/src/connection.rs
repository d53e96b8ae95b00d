//! A client's connection: its time limits, and what is read of it when.
//!
//! A connection costs little until a head is complete, every head has to be complete in time, and while a request is
//! in progress nothing is read but its body: a client that sends ahead fills its own buffers.

use std::cell::{RefCell, RefMut};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_http::error::{ParseError, PayloadError};
use actix_http::h1::{Codec, Message, MessageType};
use actix_http::{Request, ServiceConfig, StatusCode};
use bytes::{Bytes, BytesMut};
use common::memory::MemoryUse;
use common::probes::is_probe_path;
use futures_core::Stream as BodyStream;
use tokio::io::{AsyncWrite as _, ReadBuf};
use tokio::time::timeout;
use tokio_util::codec::Decoder as _;
use tokio_util::io::poll_read_buf;

use crate::limits::TimeLimits;
use crate::refusals::{REQUEST_TIMEOUT, UNAVAILABLE};
use crate::state::ConnectionState;
use crate::stream::Stream;

/// What a connection takes of the memory budget from its acceptance on: its task, its socket, the beginning of a head.
pub(crate) const CONNECTION_BYTES: usize = 4 * 1024;

/// How many bytes of a head a connection holds without taking more.
const HEAD_BYTES: usize = 512;

/// How much of a body is read at once.
const BODY_BYTES: usize = 8 * 1024;

/// How much of a body that nobody wants is discarded before other connections are served.
const DISCARDED_AT_ONCE: usize = 32 * 1024;

/// What a client sends next.
pub(crate) enum Next {
    Request(Request),
    /// Something that is no request, to be answered with this status.
    Malformed(StatusCode),
    /// Nothing that is to be answered.
    Nothing,
}

/// How far the body of the request in progress was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyState {
    /// To its end, or there is none.
    Whole,
    Open,
    /// Its end is not known any more.
    Broken,
}

/// A client's connection. Its task holds it, and the body of a request.
#[derive(Clone, Debug)]
pub(crate) struct Connection(Rc<RefCell<Socket>>);

#[derive(Debug)]
pub(crate) struct Socket {
    stream: Stream,
    state: Rc<ConnectionState>,
    /// What was read and not decoded yet.
    read: BytesMut,
    pub(crate) codec: Codec,
    body: BodyState,
}

/// The body of a request in progress, read when it is wanted.
pub(crate) struct Body(pub(crate) Connection);

impl BodyStream for Body {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.socket().poll_body(cx)
    }
}

impl Connection {
    pub(crate) fn new(stream: Stream, state: Rc<ConnectionState>, config: ServiceConfig) -> Self {
        let codec = Codec::new(config);
        let socket = Socket { stream, state, read: BytesMut::new(), codec, body: BodyState::Whole };
        Self(Rc::new(RefCell::new(socket)))
    }

    pub(crate) fn socket(&self) -> RefMut<'_, Socket> {
        self.0.borrow_mut()
    }

    pub(crate) fn state(&self) -> Rc<ConnectionState> {
        Rc::clone(&self.socket().state)
    }

    /// Reads until there is a whole head, and memory for its request.
    pub(crate) async fn next_request(&self) -> io::Result<Next> {
        let mut charged = 0;
        let next = loop {
            match self.socket().decode_head() {
                Ok(Some(request)) => break Next::Request(request),
                Ok(None) => {}
                Err(status) => break Next::Malformed(status),
            }
            if !self.socket().make_room(&mut charged) {
                self.refuse().await;
                return Ok(Next::Nothing);
            }
            if poll_fn(|cx| self.socket().poll_head(cx)).await? == 0 {
                return Ok(Next::Nothing);
            }
        };
        let state = self.state();
        state.shrink(charged);
        if let Next::Request(request) = &next
            && !state.charge_request(is_probe_path(request.path()))
        {
            self.refuse().await;
            return Ok(Next::Nothing);
        }
        Ok(next)
    }

    async fn refuse(&self) {
        self.state().count_refusal(MemoryUse::Connections);
        poll_fn(|cx| {
            self.socket().write_best_effort(cx, UNAVAILABLE);
            Poll::Ready(())
        })
        .await;
    }

    /// Whether something was read that is not decoded yet.
    pub(crate) fn has_more(&self) -> bool {
        !self.socket().read.is_empty()
    }

    /// Of the request in progress.
    pub(crate) fn message_type(&self) -> MessageType {
        self.socket().codec.message_type()
    }

    /// Whether the connection stays open behind the answer.
    pub(crate) fn keeps_alive(&self) -> bool {
        self.socket().codec.keep_alive()
    }

    /// Ready when the client is seen to have left in the middle of a request.
    pub(crate) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket().poll_gone(cx)
    }

    /// Reads what is left of a body, and discards it. Returns whether that was all of it.
    pub(crate) async fn discard_body(&self) -> bool {
        if self.socket().body == BodyState::Whole {
            return true;
        }
        let discarded = poll_fn(|cx| {
            let mut bytes = 0;
            while bytes < DISCARDED_AT_ONCE {
                match ready!(self.socket().poll_body(cx)) {
                    Some(Ok(chunk)) => bytes += chunk.len(),
                    Some(Err(_)) => return Poll::Ready(false),
                    None => return Poll::Ready(true),
                }
            }
            // Others first: a client may send as fast as this is discarded.
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        timeout(TimeLimits::DISCARD, discarded).await.unwrap_or(false)
    }

    /// Reads what the client still sends, and discards it, until it has seen the answer and leaves.
    pub(crate) async fn discard(&self) {
        let discarded = poll_fn(|cx| {
            for _ in 0..DISCARDED_AT_ONCE / HEAD_BYTES {
                let mut socket = self.socket();
                socket.read.clear();
                socket.read.reserve(HEAD_BYTES);
                let Socket { stream, read, .. } = &mut *socket;
                if !matches!(ready!(poll_read_buf(Pin::new(stream), cx, read)), Ok(1..)) {
                    return Poll::Ready(());
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        let _ = timeout(TimeLimits::DISCARD, discarded).await;
    }

    /// Shuts the sending side down, and does not wait for the client to do the same.
    pub(crate) async fn close(&self) {
        poll_fn(|cx| {
            let _ = Pin::new(&mut self.socket().stream).poll_shutdown(cx);
            Poll::Ready(())
        })
        .await;
    }
}

impl Socket {
    /// The next request, if its head is there; its status otherwise if it never will be.
    fn decode_head(&mut self) -> Result<Option<Request>, StatusCode> {
        if self.read.is_empty() {
            return Ok(None);
        }
        let request = match self.codec.decode(&mut self.read) {
            Ok(Some(Message::Item(request))) => request,
            Ok(None) => {
                self.state.head_begins();
                return Ok(None);
            }
            Err(ParseError::TooLarge) => return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            Ok(Some(Message::Chunk(_))) | Err(_) => return Err(StatusCode::BAD_REQUEST),
        };
        self.body = match self.codec.message_type() {
            MessageType::None => BodyState::Whole,
            MessageType::Payload | MessageType::Stream => BodyState::Open,
        };
        Ok(Some(request))
    }

    /// Makes room for more of a head, the least that may be read at once. Returns whether there is memory for it.
    fn make_room(&mut self, charged: &mut usize) -> bool {
        let length = self.read.len();
        if self.read.capacity() > length {
            return true;
        }
        let more = length.max(HEAD_BYTES);
        if length >= HEAD_BYTES {
            if !self.state.grow(more) {
                return false;
            }
            *charged += more;
        }
        self.read.reserve(more);
        true
    }

    /// Reads more of a head. Returns how much, 0 at the end.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.has_ended(cx) {
            return Poll::Ready(Ok(0));
        }
        self.poll_more(cx)
    }

    /// Reads no more than there is room for.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let read = poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.read);
        if read.is_pending() {
            self.state.register_waker(cx);
        }
        read
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, PayloadError>>> {
        let broken = loop {
            match self.body {
                BodyState::Whole => return Poll::Ready(None),
                BodyState::Broken => break PayloadError::Incomplete(None),
                BodyState::Open => {}
            }
            match self.codec.decode(&mut self.read) {
                Ok(Some(Message::Chunk(Some(bytes)))) => return Poll::Ready(Some(Ok(bytes))),
                Ok(Some(Message::Chunk(None))) => {
                    self.body = BodyState::Whole;
                    continue;
                }
                Ok(None) => {}
                Err(ParseError::Io(error)) => break PayloadError::Io(error),
                Ok(Some(Message::Item(_))) | Err(_) => break PayloadError::EncodingCorrupted,
            }
            if self.read.capacity() == self.read.len() {
                self.read.reserve(BODY_BYTES);
            }
            match ready!(self.poll_more(cx)) {
                Ok(0) => break PayloadError::Incomplete(None),
                Ok(_) => {}
                Err(error) => break PayloadError::Io(error),
            }
        };
        self.body = BodyState::Broken;
        Poll::Ready(Some(Err(broken)))
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // What the client has sent stands before its end.
        if self.body == BodyState::Open || !self.read.is_empty() {
            return Poll::Pending;
        }
        let gone = match &mut self.stream {
            Stream::Plain(stream) => {
                let peeked = ready!(stream.poll_peek(cx, &mut ReadBuf::new(&mut [0])));
                !matches!(peeked, Ok(1..))
            }
            // Below TLS there may be bytes that are no data.
            Stream::Tls(_) => {
                self.read.reserve(HEAD_BYTES);
                !matches!(ready!(self.poll_more(cx)), Ok(1..))
            }
        };
        if gone { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Writes what is behind `written`, and counts it there.
    pub(crate) fn poll_write_all(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        written: &mut usize,
    ) -> Poll<io::Result<()>> {
        while *written < bytes.len() {
            match ready!(self.poll_write(cx, &bytes[*written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                more => *written += more,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.state.is_blocked_for_long() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if written.is_pending() {
            self.state.note_write_blocked();
            self.state.register_waker(cx);
        } else {
            self.state.note_write_progress();
        }
        written
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Whether nothing more is read of this client; one whose head did not come in time is told so.
    fn has_ended(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.state.is_too_slow() {
            return self.state.is_to_end();
        }
        if self.state.has_begun_head() {
            self.write_best_effort(cx, REQUEST_TIMEOUT);
        }
        true
    }

    /// Answers a client that is not waited for: whoever does not take it at once does not see it.
    fn write_best_effort(&mut self, cx: &mut Context<'_>, answer: &[u8]) {
        let _ = Pin::new(&mut self.stream).poll_write(cx, answer);
        let _ = Pin::new(&mut self.stream).poll_flush(cx);
    }
}
