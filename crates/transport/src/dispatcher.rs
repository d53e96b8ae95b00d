//! Serves the requests of a connection, one after the other.
//!
//! What is HTTP is actix-http's: its codec parses heads, decodes bodies, encodes answers, all but a body whose length
//! the head has told. Its dispatcher holds two
//! buffers of 8 KiB for each connection that has asked once, reads ahead up to sixteen requests, and starts a timer for
//! each. Here a connection that waits has neither a request nor a buffer, nothing is read that nobody wants yet, and
//! the buffer that answers are written from is the worker's, unless a client is slow to take one.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, ready};

use actix_http::body::{BodySize, BoxBody, MessageBody};
use actix_http::h1::{Message, MessageType};
use actix_http::header::HeaderMap;
use actix_http::{
    ConnectionType, HttpMessage as _, Method, Payload, Request, Response, ServiceConfig,
};
use actix_service::Service;
use bytes::{Buf as _, Bytes, BytesMut};
use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tokio_util::codec::Encoder as _;

use crate::connection::{Body, Connection, Next};

/// How much of an answer is encoded before it is written.
const WRITE_BYTES: usize = 32 * 1024;

/// What tells a client that waits for it to send its body (RFC 9110, 10.1.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A worker's application, and what its connections share.
pub(crate) struct Dispatcher<S> {
    service: S,
    config: ServiceConfig,
    /// What answers are encoded into.
    buffer: RefCell<BytesMut>,
    in_flight: Cell<usize>,
    /// Turns of connections that have sent requests ahead.
    ahead: Semaphore,
}

/// So many connections whose next request is there already are served before the runtime looks for what is new. With all
/// of them, others would wait until each of thousands has had one request answered.
const AHEAD_AT_ONCE: usize = 16;

/// So many heads of requests the library keeps for the next ones, each with room for sixteen headers.
const POOLED_HEADS: usize = 128;

impl<S> Dispatcher<S>
where
    S: Service<Request>,
    S::Error: Into<Response<BoxBody>>,
{
    pub(crate) fn new(service: S, config: ServiceConfig) -> Self {
        let ahead = Semaphore::new(AHEAD_AT_ONCE);
        Self { service, config, buffer: RefCell::default(), in_flight: Cell::default(), ahead }
    }

    /// What a connection's codec is made with.
    pub(crate) fn config(&self) -> ServiceConfig {
        self.config.clone()
    }

    /// Serves a connection to its end. `begun` is called with each request.
    pub(crate) async fn serve<B>(
        &self,
        connection: Connection,
        peer: SocketAddr,
        mut begun: impl FnMut(),
    ) -> io::Result<()>
    where
        S::Response: Into<Response<B>>,
        B: MessageBody,
    {
        loop {
            match connection.next_request().await? {
                Next::Request(request) => {
                    begun();
                    // Boxed, so that a connection without a request is small.
                    if !Box::pin(self.answer(&connection, request, peer)).await? {
                        break;
                    }
                    if connection.has_more() {
                        let _turn = self.ahead.acquire().await;
                        yield_now().await;
                    }
                }
                Next::Malformed(status) => {
                    let mut refusal = Response::with_body(status, ());
                    refusal.head_mut().set_connection_type(ConnectionType::Close);
                    self.send(&connection, refusal, Answers::Other).await?;
                    connection.close().await;
                    connection.discard().await;
                    return Ok(());
                }
                Next::Nothing => break,
            }
        }
        connection.close().await;
        Ok(())
    }

    /// Answers a request. Returns whether the connection serves another one.
    async fn answer<B>(
        &self,
        connection: &Connection,
        mut request: Request,
        peer: SocketAddr,
    ) -> io::Result<bool>
    where
        S::Response: Into<Response<B>>,
        B: MessageBody,
    {
        let state = connection.state();
        let answers = Answers::from(request.method());
        request.head_mut().peer_addr = Some(peer);
        request.extensions_mut().insert(Rc::clone(&state));
        if connection.message_type() != MessageType::None {
            *request.payload() = Payload::Stream { payload: Box::pin(Body(connection.clone())) };
        }
        let _in_flight = InFlight::begin(&self.in_flight);
        if self.in_flight.get() > POOLED_HEADS {
            shrink(request.headers_mut());
        }
        if request.head().expect() {
            let mut written = 0;
            poll_fn(|cx| {
                let mut socket = connection.socket();
                ready!(socket.poll_write_all(cx, CONTINUE, &mut written))?;
                socket.poll_flush(cx)
            })
            .await?;
        }
        state.request_begins();
        let response = {
            let mut call = pin!(self.service.call(request));
            poll_fn(|cx| match call.as_mut().poll(cx) {
                Poll::Ready(response) => Poll::Ready(Some(response)),
                Poll::Pending => connection.poll_gone(cx).map(|()| None),
            })
            .await
        };
        match response {
            Some(Ok(response)) => self.send(connection, response.into(), answers).await?,
            Some(Err(error)) => self.send(connection, error.into(), answers).await?,
            // The client has left, and nobody wants what the handler might still do.
            None => return Ok(false),
        }
        let keep = connection.keeps_alive();
        let whole = connection.discard_body().await;
        state.request_ends();
        Ok(keep && whole)
    }

    async fn send<R: MessageBody>(
        &self,
        connection: &Connection,
        response: Response<R>,
        answers: Answers,
    ) -> io::Result<()> {
        let (head, body) = response.into_parts();
        let size = body.size();
        let mut out = self.take_buffer();
        connection.socket().codec.encode(Message::Item((head, size)), &mut out)?;
        let mut complete = matches!(size, BodySize::None | BodySize::Sized(0));
        // What is left of a body that needs no frames. A large part of it is written from where it is.
        let mut left = match (size, answers) {
            (BodySize::Sized(length), Answers::Other) => Some(length),
            _ => None,
        };
        let (mut body, mut written, mut part) = (pin!(body), 0, Bytes::new());
        // A body that is too short ends the connection, behind what it has.
        let mut outcome = Ok(());
        poll_fn(|cx| {
            loop {
                let mut waits = false;
                while !complete && !waits && part.is_empty() && out.len() < WRITE_BYTES {
                    match body.as_mut().poll_next(cx) {
                        Poll::Ready(Some(Ok(mut chunk))) => {
                            if let Some(left) = &mut left {
                                chunk.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                                *left -= chunk.len() as u64;
                                if chunk.len() < WRITE_BYTES {
                                    out.extend_from_slice(&chunk);
                                } else {
                                    part = chunk;
                                }
                            } else {
                                let chunk = Message::Chunk(Some(chunk));
                                connection.socket().codec.encode(chunk, &mut out)?;
                            }
                        }
                        Poll::Ready(Some(Err(error))) => {
                            let error: Box<dyn std::error::Error> = error.into();
                            return Poll::Ready(Err(io::Error::other(error.to_string())));
                        }
                        Poll::Ready(None) => {
                            match left {
                                Some(0) => {}
                                // The client that sees the end too early knows that something is missing.
                                Some(_) => outcome = Err(io::ErrorKind::UnexpectedEof.into()),
                                None => connection
                                    .socket()
                                    .codec
                                    .encode(Message::Chunk(None), &mut out)?,
                            }
                            complete = true;
                        }
                        Poll::Pending => waits = true,
                    }
                }
                if connection.socket().poll_write_all(cx, &out, &mut written)?.is_pending() {
                    // A slow client has a buffer of its own, of at most twice what it must hold.
                    if out.capacity() > 2 * (out.len() - written) {
                        let rest = BytesMut::from(&out[written..]);
                        self.give_buffer(mem::replace(&mut out, rest));
                        written = 0;
                    }
                    return Poll::Pending;
                }
                out.clear();
                written = 0;
                let mut taken = 0;
                let rest = connection.socket().poll_write_all(cx, &part, &mut taken)?;
                part.advance(taken);
                if rest.is_pending() {
                    self.give_buffer(mem::take(&mut out));
                    return Poll::Pending;
                }
                ready!(connection.socket().poll_flush(cx))?;
                if complete {
                    self.give_buffer(mem::take(&mut out));
                    return Poll::Ready(mem::replace(&mut outcome, Ok(())));
                }
                if waits {
                    self.give_buffer(mem::take(&mut out));
                    return connection
                        .poll_gone(cx)
                        .map(|()| Err(io::ErrorKind::ConnectionAborted.into()));
                }
            }
        })
        .await
    }

    fn take_buffer(&self) -> BytesMut {
        mem::take(&mut self.buffer.borrow_mut())
    }

    fn give_buffer(&self, mut buffer: BytesMut) {
        let mut own = self.buffer.borrow_mut();
        if buffer.capacity() > own.capacity() && buffer.capacity() <= 2 * WRITE_BYTES {
            buffer.clear();
            *own = buffer;
        }
    }
}

/// Which kind of request is answered.
#[derive(Clone, Copy)]
enum Answers {
    /// A HEAD, whose answer tells the length of a body and has none.
    Head,
    Other,
}

impl From<&Method> for Answers {
    fn from(method: &Method) -> Self {
        if method == Method::HEAD { Self::Head } else { Self::Other }
    }
}

/// Counts a request until it is answered, or its client has left.
struct InFlight<'a>(&'a Cell<usize>);

impl<'a> InFlight<'a> {
    fn begin(number: &'a Cell<usize>) -> Self {
        number.set(number.get() + 1);
        Self(number)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Gives up room that no header needs: seven kilobytes of a request that waits among thousands.
fn shrink(headers: &mut HeaderMap) {
    let mut small = HeaderMap::with_capacity(headers.len_keys());
    let mut last = None;
    for (name, value) in headers.drain() {
        // The first value of each name comes with it.
        last = name.or(last);
        if let Some(name) = &last {
            small.append(name.clone(), value);
        }
    }
    *headers = small;
}

#[cfg(test)]
mod tests {
    use actix_http::header::{ACCEPT, COOKIE, HeaderValue};

    use super::*;

    #[test]
    fn headers_stay_what_they_are_when_their_room_is_given_up() {
        let mut headers = HeaderMap::with_capacity(16);
        for (name, value) in [(ACCEPT, "a"), (COOKIE, "b"), (ACCEPT, "c")] {
            headers.append(name, HeaderValue::from_static(value));
        }

        shrink(&mut headers);

        assert_eq!(headers.get_all(ACCEPT).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(headers.get_all(COOKIE).collect::<Vec<_>>(), ["b"]);
        assert_eq!(headers.len(), 3);
        assert!(headers.capacity() < 16);
    }
}
