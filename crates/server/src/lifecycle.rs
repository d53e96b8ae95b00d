//! What happens around every request: its ids, its log line, its metrics, its span, and the headers and
//! the form of errors that all answers share.
//!
//! One middleware and not one for each, because each layer costs a request more than all of this does.

use std::any::Any;
use std::borrow::Cow;
use std::cell::Cell;
use std::future::{Ready, ready};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use ::faults::{Fault, Faults};
use actix_http::ConnectionType;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::error::InternalError;
use actix_web::http::header::{
    CONTENT_SECURITY_POLICY, HOST, HeaderValue, LOCATION, STRICT_TRANSPORT_SECURITY, USER_AGENT,
    X_CONTENT_TYPE_OPTIONS,
};
use actix_web::http::uri::{Authority, PathAndQuery, Uri};
use actix_web::http::{Method, StatusCode, Version};
use actix_web::{Error, HttpMessage as _, HttpResponse, ResponseError as _};
use bytes::Bytes;
use common::config::Networks;
use common::context::{REQUEST_ID, RequestContext};
use common::memory::MemoryUse;
use common::telemetry::{ACCESS_LOG, RequestSampler, SPANS};
use common::{Problem, causes};
use futures_util::FutureExt as _;
use futures_util::future::{self, Either, LocalBoxFuture};
use tracing::field::Empty;
use tracing::{Instrument as _, Level, Span};
use transport::ConnectionState;

use crate::faults::{self, Asked};
use crate::metrics::{Exemplar, MethodLabel, OTHER_METHOD, WorkerMetrics};
use crate::proxies;
use crate::rate_limit::RateLimiter;
use crate::routes::{RouteId, RouteTable, UNMATCHED};

/// The status that the log and the metrics show for a request whose client did not wait for the answer,
/// as nginx has it; it is never sent.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// An answer up to this size is part of what a request takes of the memory budget.
const SMALL_BODY: usize = 4 * 1024;

/// The most that an answer takes beside that: buffers of the connection and of where it is read from, one part on its
/// way from one to the other.
const STREAM_BYTES: usize = 128 * 1024;

/// The parts of a large answer.
const SLICE_BYTES: usize = 16 * 1024;

/// Answers show nothing, load nothing and are framed by nobody, unless a page says otherwise.
const ALLOW_NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

/// Browsers are to use HTTPS for a year, for this host.
const STAY_WITH_HTTPS: &str = "max-age=31536000";

/// What a worker needs to observe its requests.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) metrics: WorkerMetrics,
    pub(crate) routes: Arc<RouteTable>,
    /// Connections are to end with the next answer.
    pub(crate) draining: Arc<AtomicBool>,
    /// Where it listens; also the host in the log's URLs for requests that name none.
    pub(crate) address: SocketAddr,
    pub(crate) trusted_proxies: Networks,
    pub(crate) force_https: bool,
    pub(crate) rate_limiter: Option<Arc<RateLimiter>>,
    /// Where spans are exported.
    pub(crate) sampler: Option<RequestSampler>,
    /// Where faults can be injected.
    pub(crate) faults: Option<Faults>,
}

/// The middleware, outermost of all.
#[derive(Clone, Debug)]
pub(crate) struct Lifecycle(Rc<Worker>);

impl Lifecycle {
    pub(crate) fn new(worker: Worker) -> Self {
        Self(Rc::new(worker))
    }
}

impl<S> Transform<S, ServiceRequest> for Lifecycle
where
    S: Service<ServiceRequest, Response = ServiceResponse, Error = Error> + 'static,
{
    type Response = ServiceResponse;
    type Error = Error;
    type Transform = LifecycleService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(LifecycleService { worker: Rc::clone(&self.0), service }))
    }
}

#[derive(Debug)]
pub(crate) struct LifecycleService<S> {
    worker: Rc<Worker>,
    service: S,
}

impl<S> Service<ServiceRequest> for LifecycleService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse, Error = Error> + 'static,
{
    type Response = ServiceResponse;
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<ServiceResponse, Error>>;

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&self, mut request: ServiceRequest) -> Self::Future {
        let lifecycle = RequestLifecycle::begin(&self.worker, &mut request);
        let context = Rc::clone(&lifecycle.context);
        let span = lifecycle.span.clone().unwrap_or_else(Span::none);
        // Combinators, because nested `async` blocks keep copies of what they capture: ten thousand
        // requests that wait would cost tens of megabytes more.
        let answer = match (lifecycle.early_answer(), lifecycle.fault()) {
            (None, None) => Either::Left(self.service.call(request)),
            (Some(early), _) => Either::Right(Either::Left(future::lazy(|_| {
                let early = early.unwrap_or_else(|problem| problem.error_response());
                Ok(request.into_response(early))
            }))),
            (None, Some(fault)) => {
                let asked = if faults::needs_handler(&fault) {
                    Asked::Handler(self.service.call(request))
                } else {
                    Asked::Nobody(request)
                };
                Either::Right(Either::Right(Box::pin(faults::inject(fault, asked))))
            }
        };
        let answer = AssertUnwindSafe(answer.instrument(span)).catch_unwind();
        let answer = answer.map(move |answer| match answer {
            Ok(Ok(response)) => Ok(lifecycle.answer(response)),
            Ok(Err(error)) => Err(lifecycle.fail(&error)),
            Err(panic) => Err(lifecycle.panicked(panic.as_ref())),
        });
        Box::pin(context.scope(answer))
    }
}

/// A request and what becomes of it. Dropped before its end, the client has gone away.
#[derive(Debug)]
struct RequestLifecycle {
    worker: Rc<Worker>,
    context: Rc<RequestContext>,
    connection: Option<Rc<ConnectionState>>,
    span: Option<Span>,
    started: Instant,
    host: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    https: Option<bool>,
    route: RouteId,
    /// The answer's status once its head is decided.
    status: Cell<Option<u16>>,
    ended: Cell<bool>,
}

impl RequestLifecycle {
    fn begin(worker: &Rc<Worker>, request: &mut ServiceRequest) -> Self {
        let started = Instant::now();
        let connection = request.extensions().get::<Rc<ConnectionState>>().cloned();
        worker.metrics.shared.active.inc();

        let uri = request.uri().clone();
        let method = request.method().clone();
        trim_trailing_slash(request);
        if method == Method::HEAD {
            // The connection remembers that the answer goes without its body.
            request.head_mut().method = Method::GET;
        }
        let route = worker.routes.find(request.match_info().as_str());
        let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        let tls = connection.as_ref().is_some_and(|connection| connection.is_tls());
        let origin = proxies::origin(peer, tls, request.headers(), &worker.trusted_proxies);
        let mut context = RequestContext::new(method, uri, request.headers(), origin.client);
        let span = worker.sampler.as_ref().and_then(|sampler| {
            let (version, https) = (request.version(), origin.https == Some(true));
            sampler.begin(&mut context, |context| worker.span(context, route, version, https))
        });
        Self {
            worker: Rc::clone(worker),
            context: Rc::new(context),
            connection,
            span,
            started,
            host: request.headers().get(HOST).cloned(),
            user_agent: request.headers().get(USER_AGENT).cloned(),
            https: origin.https,
            route,
            status: Cell::new(None),
            ended: Cell::new(false),
        }
    }

    /// The answer that is due before any handler is asked: to HTTPS, or not so fast. Probes are exempt.
    fn early_answer(&self) -> Option<Result<HttpResponse, Problem>> {
        if self.is_probe() {
            return None;
        }
        if self.worker.force_https && self.https == Some(false) {
            let Some(host) = &self.host else {
                let detail = "a request over HTTP without `Host` cannot be sent to HTTPS";
                return Some(Err(Problem::new(StatusCode::BAD_REQUEST).detail(detail)));
            };
            let path = self.context.uri().path_and_query().map_or("/", PathAndQuery::as_str);
            let location = format!("https://{}{path}", text(Some(host)).unwrap_or_default());
            let mut response = HttpResponse::PermanentRedirect();
            return Some(Ok(response.insert_header((LOCATION, location)).finish()));
        }
        let wait = self.worker.rate_limiter.as_ref()?.take(self.context.client()).err()?;
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS).retry_after(wait);
        Some(Err(problem.detail("too many requests from this address")))
    }

    /// What is to be done to the request on purpose.
    fn fault(&self) -> Option<Fault> {
        self.worker.faults.as_ref()?.of_request(self.worker.routes.label(self.route))
    }

    fn is_probe(&self) -> bool {
        let route = self.worker.routes.label(self.route);
        matches!(route, "/healthz" | "/readyz" | "/metrics")
    }

    /// Gives the answer what all answers have, and ends now or with its last byte.
    fn answer(self, response: ServiceResponse) -> ServiceResponse {
        let response = match self.take_memory(response.response().body().size()) {
            Ok(()) => response,
            Err(problem) => response.error_response(problem),
        };
        let problem = response.response().error().map(|error| match error.as_error::<Problem>() {
            Some(problem) => (problem.causes(), None),
            // Of actix-web's own errors only the status is fit for clients.
            None => (Some(error.to_string()), Some(Problem::new(response.status()))),
        });
        let (cause, replacement) = problem.unwrap_or_default();
        let mut response = match replacement {
            Some(problem) => response.into_response(problem.error_response()),
            None => response,
        };
        self.finish_head(response.response_mut());
        let status = response.status().as_u16();
        self.status.set(Some(status));
        response.map_body(|_, body| match body.try_into_bytes() {
            Ok(bytes) if bytes.len() <= SMALL_BODY || *self.context.method() == Method::HEAD => {
                self.end(status, cause.as_deref());
                BoxBody::new(bytes)
            }
            Ok(bytes) => {
                let body = BoxBody::new(SlicedBody(bytes));
                BoxBody::new(LifecycleBody { body, lifecycle: self })
            }
            Err(body) if *self.context.method() == Method::HEAD => {
                self.end(status, cause.as_deref());
                BoxBody::new(UnsentBody(body.size()))
            }
            Err(body) => BoxBody::new(LifecycleBody { body, lifecycle: self }),
        })
    }

    /// Takes the memory that an answer holds until the client has taken it.
    fn take_memory(&self, size: BodySize) -> Result<(), Problem> {
        let bytes = match size {
            BodySize::None => return Ok(()),
            BodySize::Sized(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
            BodySize::Stream => STREAM_BYTES,
        };
        let connection = self.connection.as_ref();
        let Some(connection) = connection.filter(|_| bytes > SMALL_BODY && !self.is_probe()) else {
            return Ok(());
        };
        if *self.context.method() == Method::HEAD {
            return Ok(());
        }
        connection.take(self.context.client(), MemoryUse::Responses, bytes.min(STREAM_BYTES))
    }

    /// An error that no handler turned into an answer.
    fn fail(&self, error: &Error) -> Error {
        self.failed(
            Problem::new(error.as_response_error().status_code()).caused_by(error.to_string()),
        )
    }

    fn panicked(&self, panic: &(dyn Any + Send)) -> Error {
        self.worker.metrics.shared.panics.inc();
        let message = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        self.failed(Problem::internal(format!("panic: {message}")))
    }

    fn failed(&self, problem: Problem) -> Error {
        let mut response = problem.error_response();
        self.finish_head(&mut response);
        self.end(response.status().as_u16(), problem.causes().as_deref());
        InternalError::from_response(problem, response).into()
    }

    fn finish_head(&self, response: &mut HttpResponse) {
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, self.context.request_id_header());
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if !headers.contains_key(CONTENT_SECURITY_POLICY) {
            headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(ALLOW_NOTHING));
        }
        if self.worker.force_https && self.https == Some(true) {
            headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(STAY_WITH_HTTPS));
        }
        if self.worker.draining.load(Ordering::Relaxed) {
            response.head_mut().set_connection_type(ConnectionType::Close);
        }
    }

    /// Notes in the span, if there is one, why there is no complete answer, and whether that is the service's fault.
    fn record_error(&self, error_type: &str, own_fault: bool) {
        if let Some(span) = &self.span {
            span.record("error.type", error_type);
            if own_fault {
                span.record("otel.status_code", "ERROR");
            }
        }
    }

    /// Logs and counts, once.
    fn end(&self, status: u16, cause: Option<&str>) {
        if self.ended.replace(true) {
            return;
        }
        let duration = self.started.elapsed();
        let metrics = &self.worker.metrics;
        metrics.shared.active.dec();
        let label = self.worker.routes.label(self.route);
        metrics.observe(
            (self.route, label),
            MethodLabel::from(self.context.method()),
            status,
            duration,
            self.exemplar(),
        );
        if let Some(span) = &self.span
            && status != CLIENT_CLOSED_REQUEST
        {
            span.record("http.response.status_code", i64::from(status));
            if status >= 500 {
                self.record_error(itoa::Buffer::new().format(status), true);
            }
        }
        self.log(status, duration.as_secs_f64() * 1e3, cause);
    }

    /// Only of a request that is recorded: there is nothing to find of others.
    fn exemplar(&self) -> Option<Exemplar> {
        let span_id = self.context.span_id()?;
        Some([("trace_id", self.context.trace_id().into()), ("span_id", span_id.into())])
    }

    fn log(&self, status: u16, duration_ms: f64, cause: Option<&str>) {
        // The level is part of the call site, hence a call site for each.
        macro_rules! log {
            ($level:expr) => {
                if tracing::enabled!(target: ACCESS_LOG, $level) {
                    tracing::event!(
                        target: ACCESS_LOG,
                        $level,
                        "req.method" = self.context.method().as_str(),
                        "req.url" = self.url(),
                        "req.client" = %self.context.client(),
                        "req.user-agent" = &*text(self.user_agent.as_ref()).unwrap_or("N/A".into()),
                        "res.status_code" = status,
                        duration_ms = (duration_ms * 1e3).round() / 1e3,
                        error = cause,
                        request_id = self.context.request_id(),
                        trace_id = self.context.trace_id(),
                        span_id = self.context.span_id(),
                        "Incoming request"
                    );
                }
            };
        }
        if self.is_probe() {
            log!(Level::DEBUG);
        } else if (500..600).contains(&status) {
            log!(Level::ERROR);
        } else {
            log!(Level::INFO);
        }
    }

    /// The URL as the client wrote it, as far as the request tells.
    fn url(&self) -> String {
        let host = text(self.host.as_ref());
        let authority = self.context.uri().authority().map(Authority::as_str);
        let own = self.worker.address;
        let authority = authority.or(host.as_deref());
        let authority = authority.map_or_else(|| Cow::Owned(own.to_string()), Cow::Borrowed);
        let path = self.context.uri().path_and_query().map_or("/", PathAndQuery::as_str);
        let scheme = if self.https == Some(true) { "https://" } else { "http://" };
        let mut url = String::with_capacity(scheme.len() + authority.len() + path.len());
        url.push_str(scheme);
        url.push_str(&authority);
        url.push_str(path);
        url
    }
}

impl Drop for RequestLifecycle {
    fn drop(&mut self) {
        let status = self.status.get().unwrap_or(CLIENT_CLOSED_REQUEST);
        if !self.ended.get() {
            self.record_error("client_closed_request", false);
        }
        self.end(status, Some("the client went away"));
    }
}

/// A header as text; bytes that are no UTF-8 are replaced.
fn text(value: Option<&HeaderValue>) -> Option<Cow<'_, str>> {
    value.map(|value| String::from_utf8_lossy(value.as_bytes()))
}

/// Paths work with and without a trailing slash.
fn trim_trailing_slash(request: &mut ServiceRequest) {
    let path = request.uri().path();
    let trimmed = path.trim_end_matches('/');
    if trimmed.len() == path.len() || path == "/" {
        return;
    }
    let trimmed = if trimmed.is_empty() { "/" } else { trimmed };
    let path_and_query = match request.uri().query() {
        Some(query) => format!("{trimmed}?{query}"),
        None => trimmed.to_owned(),
    };
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = PathAndQuery::from_maybe_shared(Bytes::from(path_and_query)).ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        request.match_info_mut().get_mut().update(&uri);
        request.head_mut().uri = uri;
    }
}

impl Worker {
    /// A request's span. No attribute has a value that the client made up, such as a path that there is not.
    fn span(
        &self,
        context: &RequestContext,
        route: RouteId,
        version: Version,
        https: bool,
    ) -> Span {
        let method = MethodLabel::from(context.method()).as_str();
        let route = Some(self.routes.label(route)).filter(|route| *route != UNMATCHED);
        let name = match (method, route) {
            (OTHER_METHOD, Some(route)) => Cow::Owned(format!("HTTP {route}")),
            (OTHER_METHOD, None) => Cow::Borrowed("HTTP"),
            (_, Some(route)) => Cow::Owned(format!("{method} {route}")),
            (_, None) => Cow::Borrowed(method),
        };
        let host = self.address.ip();
        tracing::info_span!(
            target: SPANS,
            parent: None,
            "request",
            otel.name = &*name,
            otel.kind = "server",
            otel.status_code = Empty,
            http.request.method = method,
            http.route = route,
            http.response.status_code = Empty,
            "error.type" = Empty,
            url.scheme = if https { "https" } else { "http" },
            url.path = route.unwrap_or("REDACTED"),
            network.protocol.version = protocol_version(version),
            server.address = (!host.is_unspecified()).then(|| tracing::field::display(host)),
            server.port = i64::from(self.address.port()),
            client.address = %context.client(),
        )
    }
}

fn protocol_version(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        _ => None,
    }
}

/// A streamed body that ends its lifecycle with its last byte.
struct LifecycleBody {
    body: BoxBody,
    lifecycle: RequestLifecycle,
}

impl MessageBody for LifecycleBody {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let Self { body, lifecycle } = self.get_mut();
        let next = Pin::new(body).poll_next(cx);
        let status = lifecycle.status.get().unwrap_or_default();
        match &next {
            Poll::Ready(None) => lifecycle.end(status, None),
            Poll::Ready(Some(Err(error))) => {
                lifecycle.record_error("incomplete_response", true);
                lifecycle.end(status, Some(&causes(error.as_ref())));
            }
            _ => {}
        }
        next
    }
}

/// A large body in parts: each part is copied into the buffer that is written from, and stays there until the client
/// has taken it.
struct SlicedBody(Bytes);

impl MessageBody for SlicedBody {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.0.len() as u64)
    }

    fn poll_next(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let Self(bytes) = self.get_mut();
        let slice = bytes.split_to(bytes.len().min(SLICE_BYTES));
        Poll::Ready((!slice.is_empty()).then_some(Ok(slice)))
    }
}

/// In place of a stream that answers HEAD: actix-web would read it to its end and throw it away.
struct UnsentBody(BodySize);

impl MessageBody for UnsentBody {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        self.0
    }

    fn poll_next(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Poll::Ready(None)
    }
}
