//! The request's body.

use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, web};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::future::LocalBoxFuture;
use mime::Mime;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use common::{Problem, problems};

use super::coding::{Coding, DecodeError};
use super::json::{self, Refusal};
use super::memory::BodyMemory;

/// How much of a body has to arrive within `REQUEST_TIMEOUT`, unless it is complete by then.
const MIN_PROGRESS: usize = 64 * 1024;

/// U+FEFF in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

problems! {
    /// What an endpoint that takes a body may answer.
    pub BodyProblems {
        400: "The body is malformed",
        408: "The body did not arrive in time",
        413: "The body is larger than `BODY_LIMIT`",
        415: "The body has another media type",
        422: "The body has a member that is missing or wrong",
    }
}

/// How large a body may be, and how slow.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// The largest body, in bytes.
    pub bytes: usize,
    /// The time for each 64 KiB of it, and for its end.
    pub timeout: Duration,
}

/// The whole body, at most `BODY_LIMIT` bytes, as it comes and as it is decoded from `Content-Encoding: gzip`.
///
/// 415 for another coding, 413 for a larger one, 408 for one that is too slow, 400 for one that breaks off or is
/// encoded wrongly; where it was not read to its end the connection ends, since nobody knows where the next request
/// begins.
#[derive(Clone, Debug)]
pub struct Body(pub Bytes);

impl FromRequest for Body {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let limits = request.app_data::<web::Data<BodyLimits>>().map(|limits| ***limits);
        let (coding, announced) = (Coding::of(request), announced_length(request));
        let mut memory = BodyMemory::of(request);
        let mut payload = payload.take();
        Box::pin(async move {
            let limits = limits.ok_or_else(|| Problem::internal("no body limits are set"))?;
            let coding = coding?;
            let body = read(&mut payload, limits, announced, &mut memory).await?;
            coding.decode(body, limits.bytes, &mut memory).map(Self).map_err(|error| match error {
                DecodeError::Malformed(error) => Problem::new(StatusCode::BAD_REQUEST)
                    .detail("the body is not what `Content-Encoding: gzip` says")
                    .caused_by(error),
                DecodeError::TooLarge => too_large(limits.bytes),
                DecodeError::NoMemory(problem) => problem,
            })
        })
    }
}

impl Body {
    /// The body without a byte order mark, with which some programs begin what they write as UTF-8.
    #[must_use]
    pub fn without_mark(self) -> Bytes {
        let Self(body) = self;
        if body.starts_with(BYTE_ORDER_MARK) { body.slice(BYTE_ORDER_MARK.len()..) } else { body }
    }
}

fn too_large(limit: usize) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE)
        .detail(format!("the body is larger than {limit} bytes"))
}

fn announced_length(request: &HttpRequest) -> Option<u64> {
    let length = request.headers().get(actix_web::http::header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

async fn read(
    payload: &mut Payload,
    limits: BodyLimits,
    announced: Option<u64>,
    memory: &mut BodyMemory,
) -> Result<Bytes, Problem> {
    let refusal = || too_large(limits.bytes).close();
    if announced.is_some_and(|length| length > limits.bytes as u64) {
        return Err(refusal());
    }
    let announced = announced.and_then(|length| usize::try_from(length).ok());
    memory.take(announced.unwrap_or_default())?;
    let mut chunks = Chunks { announced, ..Chunks::default() };
    let mut deadline = Instant::now() + limits.timeout;
    let mut expected = MIN_PROGRESS;
    loop {
        let chunk = timeout_at(deadline, payload.next()).await.map_err(|elapsed| {
            Problem::new(StatusCode::REQUEST_TIMEOUT)
                .detail("the body did not arrive in time")
                .close()
                .caused_by(elapsed)
        })?;
        let Some(chunk) = chunk else {
            return Ok(chunks.join());
        };
        let chunk = chunk.map_err(|error| {
            Problem::new(StatusCode::BAD_REQUEST)
                .detail("the body is incomplete or wrongly encoded")
                .close()
                .caused_by(error.to_string())
        })?;
        if chunks.len() + chunk.len() > limits.bytes {
            return Err(refusal());
        }
        memory.take(chunks.len() + chunk.len())?;
        chunks.push(chunk);
        if chunks.len() >= expected {
            expected = chunks.len() + MIN_PROGRESS;
            deadline = Instant::now() + limits.timeout;
        }
    }
}

/// The parts of a body; most bodies are one, which is then not copied.
#[derive(Debug, Default)]
struct Chunks {
    first: Bytes,
    rest: BytesMut,
    /// How large they will be together, if that is known.
    announced: Option<usize>,
}

impl Chunks {
    fn len(&self) -> usize {
        self.first.len() + self.rest.len()
    }

    fn push(&mut self, chunk: Bytes) {
        if self.first.is_empty() && self.rest.is_empty() {
            self.first = chunk;
        } else {
            if self.rest.is_empty() {
                self.rest.reserve(self.announced.unwrap_or_default());
                self.rest.extend_from_slice(&std::mem::take(&mut self.first));
            }
            self.rest.extend_from_slice(&chunk);
        }
    }

    fn join(self) -> Bytes {
        if self.rest.is_empty() { self.first } else { self.rest.freeze() }
    }
}

/// The media types that handlers know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    /// `application/json` or a `+json` type.
    Json,
    /// `text/plain` in UTF-8.
    Text,
    /// The header is missing.
    None,
}

impl MediaType {
    /// The body's media type.
    ///
    /// # Errors
    /// 415 for any other.
    pub fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let unsupported = || unsupported("expected application/json or text/plain in UTF-8");
        if !request.headers().contains_key(CONTENT_TYPE) {
            return Ok(Self::None);
        }
        let mime: Mime = request.mime_type().ok().flatten().ok_or_else(unsupported)?;
        // Many clients leave the hyphen out.
        let is_utf8 = mime.get_param(mime::CHARSET).is_none_or(|charset| {
            let names = ["utf-8", "utf8", "us-ascii"];
            names.iter().any(|name| charset.as_str().eq_ignore_ascii_case(name))
        });
        if mime.subtype() == mime::JSON || mime.suffix() == Some(mime::JSON) {
            Ok(Self::Json)
        } else if mime.essence_str() == mime::TEXT_PLAIN.essence_str() && is_utf8 {
            Ok(Self::Text)
        } else {
            Err(unsupported())
        }
    }
}

fn unsupported(detail: &str) -> Problem {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE).detail(detail)
}

/// A JSON body of type `T`, with or without a `Content-Type`.
///
/// 415 for another media type, 400 for what is no JSON, 422 for JSON that is no `T`, and the errors of [`Body`].
#[derive(Clone, Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> Json<T> {
    /// Whether the body says that it is JSON, or nothing.
    ///
    /// # Errors
    /// 415 for another media type.
    pub fn accepts(request: &HttpRequest) -> Result<(), Problem> {
        match MediaType::of(request)? {
            MediaType::Text => Err(unsupported("expected application/json")),
            MediaType::Json | MediaType::None => Ok(()),
        }
    }

    /// The value of a body, which may begin with a byte order mark (RFC 8259, 8.1).
    ///
    /// # Errors
    /// 400 for what is no JSON, 422 for JSON that is no `T`; an array is no object.
    pub fn parse(body: &[u8]) -> Result<Self, Problem> {
        let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
        json::parse(body).map(Self).map_err(|refusal| {
            let status = match refusal {
                Refusal::Malformed(_) => StatusCode::BAD_REQUEST,
                Refusal::Mismatch(_) => StatusCode::UNPROCESSABLE_ENTITY,
            };
            Problem::new(status).detail(refusal.to_string())
        })
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for Json<T> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let accepted = Self::accepts(request);
        let body = Body::from_request(request, payload);
        Box::pin(async move {
            accepted?;
            Self::parse(&body.await?.0)
        })
    }
}
