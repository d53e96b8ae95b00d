//! What happens around every request: its ids, its log line, its metrics, its span, and the headers and
//! the form of errors that all answers share.
//!
//! One middleware and not one for each, because each layer costs a request more than all of this does.

mod body;
mod headers;
mod span;

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
use std::time::{Duration, Instant};

use ::faults::{Fault, Faults};
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::error::InternalError;
use actix_web::http::header::{HOST, HeaderValue, LOCATION, USER_AGENT};
use actix_web::http::uri::{Authority, PathAndQuery, Uri};
use actix_web::http::{Method, StatusCode};
use actix_web::{Error, HttpMessage as _, HttpResponse, ResponseError as _};
use bytes::Bytes;
use common::config::Networks;
use common::context::RequestContext;
use common::memory::MemoryUse;
use common::probes::is_probe_path;
use common::telemetry::spans::fail;
use common::telemetry::{AccessLine, RequestSampler, log_request};
use common::{Problem, causes};
use futures_util::FutureExt as _;
use futures_util::future::{self, Either, LocalBoxFuture};
use tracing::{Instrument as _, Level, Span};
use transport::{ConnectionState, Scheme};

use crate::faults::{self, FaultTarget};
use crate::metrics::{Answered, Exemplar, MethodLabel, WorkerMetrics};
use crate::proxies;
use crate::rate_limit::RateLimiter;
use crate::routes::{RouteId, RouteTable};
use body::{SlicedBody, UnsentBody};
use headers::SharedHeaders;
use span::ServerSpan;

/// The status that the log and the metrics show for a request whose client did not wait for the answer,
/// as nginx has it; it is never sent.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// An answer up to this size is part of what a request takes of the memory budget.
const SMALL_BODY: usize = 4 * 1024;

/// The most that an answer takes beside that: buffers of the connection and of where it is read from, one part on its
/// way from one to the other.
const STREAM_BYTES: usize = 128 * 1024;

/// What the middleware of a worker needs for its requests.
#[derive(Debug)]
pub(crate) struct MiddlewareState {
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
pub(crate) struct Lifecycle(Rc<MiddlewareState>);

impl Lifecycle {
    pub(crate) fn new(state: MiddlewareState) -> Self {
        Self(Rc::new(state))
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
        ready(Ok(LifecycleService { state: Rc::clone(&self.0), service: Rc::new(service) }))
    }
}

#[derive(Debug)]
pub(crate) struct LifecycleService<S> {
    state: Rc<MiddlewareState>,
    service: Rc<S>,
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
        let lifecycle = RequestLifecycle::begin(&self.state, &mut request);
        let context = Rc::clone(&lifecycle.context);
        let span = lifecycle.span.clone().unwrap_or_else(Span::none);
        let service = Rc::clone(&self.service);
        // Called when it is polled, where a panic is caught that comes before the handler's future.
        let ask = move |request| future::lazy(move |_| service.call(request)).flatten();
        // Combinators, because nested `async` blocks keep copies of what they capture: ten thousand
        // requests that wait would cost tens of megabytes more.
        let answer = match (lifecycle.early_answer(), lifecycle.fault()) {
            (None, None) => Either::Left(ask(request)),
            (Some(early), _) => Either::Right(Either::Left(future::lazy(|_| {
                let early = early.unwrap_or_else(|problem| problem.error_response());
                Ok(request.into_response(early))
            }))),
            (None, Some(fault)) => {
                let target = if faults::needs_handler(&fault) {
                    FaultTarget::Handler(ask(request))
                } else {
                    FaultTarget::ShortCircuit(request)
                };
                Either::Right(Either::Right(Box::pin(faults::inject(fault, target))))
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
    state: Rc<MiddlewareState>,
    context: Rc<RequestContext>,
    connection: Option<Rc<ConnectionState>>,
    span: Option<Span>,
    started: Instant,
    host: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    /// The client's, as far as it is known.
    scheme: Option<Scheme>,
    route: RouteId,
    /// The answer's status once its head is decided.
    status: Cell<Option<u16>>,
    ended: Cell<bool>,
}

impl RequestLifecycle {
    fn begin(state: &Rc<MiddlewareState>, request: &mut ServiceRequest) -> Self {
        let started = Instant::now();
        let connection = request.extensions().get::<Rc<ConnectionState>>().cloned();
        state.metrics.shared.active.inc();

        let uri = request.uri().clone();
        let method = request.method().clone();
        trim_trailing_slash(request);
        if method == Method::HEAD {
            // The connection remembers that the answer goes without its body.
            request.head_mut().method = Method::GET;
        }
        let route = state.routes.find(request.match_info().as_str());
        let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        let scheme = connection.as_ref().map_or(Scheme::Http, |connection| connection.scheme());
        let origin = proxies::origin(peer, scheme, request.headers(), &state.trusted_proxies);
        let mut context = RequestContext::new(method, uri, request.headers(), origin.client);
        let span = state.sampler.as_ref().and_then(|sampler| {
            let span = ServerSpan {
                route: state.routes.label(route),
                version: request.version(),
                scheme: origin.scheme.unwrap_or(Scheme::Http),
                address: state.address,
            };
            sampler.begin(&mut context, |context| span.begin(context))
        });
        Self {
            state: Rc::clone(state),
            context: Rc::new(context),
            connection,
            span,
            started,
            host: request.headers().get(HOST).cloned(),
            user_agent: request.headers().get(USER_AGENT).cloned(),
            scheme: origin.scheme,
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
        if self.state.force_https && self.scheme == Some(Scheme::Http) {
            let Some(host) = &self.host else {
                let detail = "a request over HTTP without `Host` cannot be sent to HTTPS";
                return Some(Err(Problem::new(StatusCode::BAD_REQUEST).detail(detail)));
            };
            let path = self.context.uri().path_and_query().map_or("/", PathAndQuery::as_str);
            let location = format!("https://{}{path}", text(Some(host)).unwrap_or_default());
            let mut response = HttpResponse::PermanentRedirect();
            return Some(Ok(response.insert_header((LOCATION, location)).finish()));
        }
        let wait = self.state.rate_limiter.as_ref()?.take(self.context.client()).err()?;
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS).retry_after(wait);
        Some(Err(problem.detail("too many requests from this address")))
    }

    /// What is to be done to the request on purpose.
    fn fault(&self) -> Option<Fault> {
        self.state.faults.as_ref()?.of_request(self.state.routes.label(self.route))
    }

    fn is_probe(&self) -> bool {
        is_probe_path(self.state.routes.label(self.route))
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
        self.set_shared_headers(response.response_mut());
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
        self.state.metrics.shared.panics.inc();
        let message = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        self.failed(Problem::internal(format!("panic: {message}")))
    }

    fn failed(&self, problem: Problem) -> Error {
        let mut response = problem.error_response();
        self.set_shared_headers(&mut response);
        self.end(response.status().as_u16(), problem.causes().as_deref());
        InternalError::from_response(problem, response).into()
    }

    fn set_shared_headers(&self, response: &mut HttpResponse) {
        let headers = SharedHeaders {
            hsts: self.state.force_https && self.scheme == Some(Scheme::Https),
            close: self.state.draining.load(Ordering::Relaxed),
        };
        headers.set(response, &self.context);
    }

    /// Notes in the span, if there is one, why the service did not answer as it should have.
    fn record_failure(&self, error_type: &str) {
        if let Some(span) = &self.span {
            fail(span, error_type);
        }
    }

    /// Logs and counts, once.
    fn end(&self, status: u16, cause: Option<&str>) {
        if self.ended.replace(true) {
            return;
        }
        let duration = self.started.elapsed();
        let metrics = &self.state.metrics;
        metrics.shared.active.dec();
        metrics.observe(Answered {
            route: self.route,
            route_label: self.state.routes.label(self.route),
            method: MethodLabel::from(self.context.method()),
            status,
            duration,
            exemplar: self.exemplar(),
        });
        if let Some(span) = &self.span
            && status != CLIENT_CLOSED_REQUEST
        {
            span.record("http.response.status_code", i64::from(status));
            if status >= 500 {
                self.record_failure(itoa::Buffer::new().format(status));
            }
        }
        self.log(status, duration, cause);
    }

    /// Writes the line of the access log.
    fn log(&self, status: u16, duration: Duration, error: Option<&str>) {
        let (host, user_agent) = (text(self.host.as_ref()), text(self.user_agent.as_ref()));
        let uri = self.context.uri();
        // As the client wrote it, as far as the request tells.
        let authority = uri.authority().map(Authority::as_str).or(host.as_deref());
        let authority =
            authority.map_or_else(|| Cow::Owned(self.state.address.to_string()), Cow::Borrowed);
        log_request(&AccessLine {
            level: match status {
                _ if self.is_probe() => Level::DEBUG,
                500..600 => Level::ERROR,
                _ => Level::INFO,
            },
            context: &self.context,
            scheme: self.scheme.unwrap_or(Scheme::Http).as_str(),
            authority: &authority,
            path: uri.path_and_query().map_or("/", PathAndQuery::as_str),
            user_agent: user_agent.as_deref(),
            status,
            duration,
            error,
        });
    }

    /// Only of a request that is recorded: there is nothing to find of others.
    fn exemplar(&self) -> Option<Exemplar> {
        let span_id = self.context.span_id()?;
        Some([("trace_id", self.context.trace_id().into()), ("span_id", span_id.into())])
    }
}

impl Drop for RequestLifecycle {
    fn drop(&mut self) {
        let status = self.status.get().unwrap_or(CLIENT_CLOSED_REQUEST);
        if let (false, Some(span)) = (self.ended.get(), &self.span) {
            // Not the service's fault.
            span.record("error.type", "client_closed_request");
        }
        self.end(status, Some("the client went away"));
    }
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
                lifecycle.record_failure("incomplete_response");
                lifecycle.end(status, Some(&causes(error.as_ref())));
            }
            _ => {}
        }
        next
    }
}

/// A header as text; bytes that are no UTF-8 are replaced.
fn text(value: Option<&HeaderValue>) -> Option<Cow<'_, str>> {
    value.map(HeaderValue::as_bytes).map(|bytes| {
        str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
    })
}
