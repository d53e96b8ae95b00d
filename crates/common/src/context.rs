//! What belongs to the request at hand: its id and its trace.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, Uri};
use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

tokio::task_local! {
    static CURRENT: Rc<RequestContext>;
}

/// The header that carries a request's id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The header that carries the trace context (W3C Trace Context, level 1).
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The header that carries what tracing systems add to the trace context.
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The longest `tracestate` that is passed on: what every tracing system is to pass on at least
/// (<https://www.w3.org/TR/trace-context/#tracestate-limits>).
const MAX_TRACESTATE: usize = 512;

/// The longest request id that is taken over.
const MAX_REQUEST_ID: usize = 128;

/// The ids of the request that a task works on.
#[derive(Debug)]
pub struct RequestContext {
    method: Method,
    uri: Uri,
    request_id: HeaderValue,
    trace_id: Hex<32>,
    /// Of the request's own span, if it is recorded.
    span_id: Option<Hex<16>>,
    traceparent: Option<TraceParent>,
    tracestate: Option<Box<str>>,
    /// Spans are exported, but not those of this request.
    unsampled: bool,
    client: IpAddr,
}

/// One subscriber has a whole /64 of IPv6 addresses.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
        address @ IpAddr::V4(_) => address,
    }
}

impl RequestContext {
    /// The ids that a request brings, new ones for those that it lacks.
    #[must_use]
    pub fn new(method: Method, uri: Uri, headers: &HeaderMap, client: IpAddr) -> Self {
        let traceparent = headers
            .get(&TRACEPARENT)
            .and_then(|value| value.to_str().ok())
            .and_then(TraceParent::parse);
        let trace_id = traceparent.map_or_else(rand::random, |parent| parent.trace_id);
        Self {
            method,
            uri,
            request_id: request_id(headers),
            trace_id: Hex::new(trace_id),
            span_id: None,
            traceparent,
            tracestate: traceparent.and_then(|_| tracestate(headers)),
            unsampled: false,
            client,
        }
    }

    /// The method as it was received; handlers of `GET` answer `HEAD`, too.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The target as it was received; handlers see it without final slashes.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The request's id: 1 to 128 visible ASCII characters.
    #[must_use]
    pub fn request_id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }

    /// The client's address: the peer's, or what trusted proxies say; mapped IPv4 addresses as IPv4.
    #[must_use]
    pub fn client(&self) -> IpAddr {
        self.client
    }

    /// The client's address as text.
    #[must_use]
    pub fn client_text(&self) -> String {
        let mut text = String::with_capacity("255.255.255.255".len());
        push_address(&mut text, self.client);
        text
    }

    /// The client as one that shares are given to: its address, or the /64 that one subscriber of IPv6 has.
    #[must_use]
    pub fn client_network(&self) -> IpAddr {
        network(self.client)
    }

    /// The trace's id: 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        self.trace_id.as_str()
    }

    /// The trace's id as a number.
    #[must_use]
    pub fn trace_id_number(&self) -> u128 {
        self.trace_id.number()
    }

    /// The id of the request's exported span, if there is one: 16 hexadecimal digits.
    #[must_use]
    pub fn span_id(&self) -> Option<&str> {
        self.span_id.as_ref().map(Hex::as_str)
    }

    /// The headers by which a call to another service belongs to this request: its id, and its trace
    /// with the exported span as the parent, or an id of its own where none is exported. A
    /// [`tracestate`](Self::tracestate) goes with them.
    #[must_use]
    pub fn outgoing_headers(&self) -> [(&'static str, String); 2] {
        let span = Context::map_current(|context| context.span().span_context().clone());
        let (span_id, flags) = if span.is_valid() {
            (span.span_id().to_string(), span.trace_flags().to_u8())
        } else {
            let span_id = rand::random_range(1..=u64::MAX);
            // Whether the trace is recorded is for whoever began it to say, if not for this service.
            let sampled = self.traceparent.is_some_and(TraceParent::is_sampled) && !self.unsampled;
            (format!("{span_id:016x}"), u8::from(sampled))
        };
        let traceparent = format!("00-{}-{span_id}-{flags:02x}", self.trace_id());
        [("traceparent", traceparent), ("x-request-id", self.request_id().to_owned())]
    }

    /// What tracing systems of callers have added to the trace, for the header of the same name: at most 512
    /// bytes. More than that, or what is malformed, is not passed on.
    #[must_use]
    pub fn tracestate(&self) -> Option<&str> {
        self.tracestate.as_deref()
    }

    /// The request's id as the value of its header.
    #[must_use]
    pub fn request_id_header(&self) -> HeaderValue {
        self.request_id.clone()
    }

    /// What the caller said of its own span.
    #[must_use]
    pub fn caller(&self) -> Option<TraceParent> {
        self.traceparent
    }

    /// Notes the id of the request's exported span.
    pub(crate) fn set_span_id(&mut self, span_id: u64) {
        self.span_id = Some(Hex::new(u128::from(span_id)));
    }

    /// Notes that the request is not recorded, whatever its caller does.
    pub(crate) fn set_unsampled(&mut self) {
        self.unsampled = true;
    }

    /// Calls `f` with the request at hand, if this task works on one.
    pub fn with_current<T>(f: impl FnOnce(&Self) -> T) -> Option<T> {
        CURRENT.try_with(|context| f(context)).ok()
    }

    /// Runs a future that works on this request.
    pub fn scope<F: Future>(self: Rc<Self>, future: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, future)
    }
}

/// Appends an address as it displays itself. For one of IPv4 the formatting machinery would take half as long as all else
/// of a line in the access log.
pub(crate) fn push_address(text: &mut String, address: IpAddr) {
    let IpAddr::V4(address) = address else { return text.push_str(&address.to_string()) };
    for (at, octet) in address.octets().into_iter().enumerate() {
        if at > 0 {
            text.push('.');
        }
        text.push_str(itoa::Buffer::new().format(octet));
    }
}

/// Takes over the caller's id, or makes one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    headers
        .get(&REQUEST_ID)
        .filter(|value| {
            let id = value.as_bytes();
            (1..=MAX_REQUEST_ID).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
        })
        .cloned()
        .unwrap_or_else(|| {
            HeaderValue::from_str(Hex::<32>::new(rand::random()).as_str())
                .unwrap_or_else(|_| HeaderValue::from_static("none"))
        })
}

/// The state of a trace, if it is well formed and not too long.
fn tracestate(headers: &HeaderMap) -> Option<Box<str>> {
    let mut state = String::new();
    for value in headers.get_all(&TRACESTATE) {
        let value = value.to_str().ok()?.trim();
        if state.len() + 1 + value.len() > MAX_TRACESTATE {
            return None;
        }
        if !state.is_empty() && !value.is_empty() {
            state.push(',');
        }
        state.push_str(value);
    }
    (!state.is_empty() && state.parse::<TraceState>().is_ok()).then(|| state.into())
}

/// The two lower-case hexadecimal digits of each byte.
const HEX_PAIRS: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < pairs.len() {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 0xf]];
        byte += 1;
    }
    pairs
};

/// `N` lower-case hexadecimal digits, kept in place: there are two or three such ids for each request.
#[derive(Clone, Copy, Debug)]
struct Hex<const N: usize>([u8; N]);

impl<const N: usize> Hex<N> {
    /// The last `N` digits of a number.
    fn new(value: u128) -> Self {
        let (mut digits, bytes) = ([0; N], value.to_be_bytes());
        for (pair, byte) in digits.chunks_exact_mut(2).zip(&bytes[bytes.len() - N / 2..]) {
            pair.copy_from_slice(&HEX_PAIRS[usize::from(*byte)]);
        }
        Self(digits)
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    fn number(&self) -> u128 {
        u128::from_str_radix(self.as_str(), 16).unwrap_or_default()
    }
}

/// A caller's span in a trace, as the header `traceparent` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace; not zero.
    pub trace_id: u128,
    /// The caller's span in it; not zero.
    pub span_id: u64,
    /// Bit 0: whether the caller records the trace.
    pub flags: u8,
}

impl TraceParent {
    /// Whether the caller records the trace.
    #[must_use]
    pub fn is_sampled(self) -> bool {
        self.flags & 1 == 1
    }

    /// Reads a header: `00-<32 digits>-<16 digits>-<2 digits>`, lower case, ids not zero. A later
    /// version may go on behind that, version `ff` is forbidden
    /// (<https://www.w3.org/TR/trace-context/#traceparent-header>).
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.splitn(5, '-');
        let version = digits::<2>(parts.next()?)?;
        let trace_id = digits::<32>(parts.next()?)?;
        let span_id = u64::try_from(digits::<16>(parts.next()?)?).ok()?;
        let flags = u8::try_from(digits::<2>(parts.next()?)?).ok()?;
        let more = parts.next().is_some();
        (version != 0xff && (version > 0 || !more) && trace_id != 0 && span_id != 0)
            .then_some(Self { trace_id, span_id, flags })
    }

    /// The span in progress, if it is recorded.
    #[must_use]
    pub fn current() -> Option<Self> {
        Context::map_current(|context| {
            let span = context.span();
            let span = span.span_context();
            span.is_sampled().then(|| Self {
                trace_id: u128::from_be_bytes(span.trace_id().to_bytes()),
                span_id: u64::from_be_bytes(span.span_id().to_bytes()),
                flags: span.trace_flags().to_u8(),
            })
        })
    }

    /// Makes a span, which has not been entered, a child of this one; returns false where no span is exported.
    #[must_use]
    pub fn set_as_parent_of(self, span: &tracing::Span) -> bool {
        span.set_parent(Context::new().with_remote_span_context(self.span_context())).is_ok()
    }

    /// Links a span to this one.
    pub fn add_link_to(self, span: &tracing::Span) {
        span.add_link(self.span_context());
    }

    fn span_context(self) -> SpanContext {
        SpanContext::new(
            TraceId::from(self.trace_id),
            SpanId::from(self.span_id),
            TraceFlags::new(self.flags),
            true,
            TraceState::NONE,
        )
    }
}

/// As the header.
impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace_id, span_id, flags } = self;
        write!(f, "00-{trace_id:032x}-{span_id:016x}-{flags:02x}")
    }
}

/// Exactly `N` lower-case hexadecimal digits.
fn digits<const N: usize>(text: &str) -> Option<u128> {
    let lower_case = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (text.len() == N && lower_case).then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use opentelemetry::propagation::TextMapPropagator as _;
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::propagation::TraceContextPropagator;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use proptest::prelude::*;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    fn context_of(headers: &HeaderMap) -> RequestContext {
        RequestContext::new(Method::GET, Uri::default(), headers, IpAddr::from([127, 0, 0, 1]))
    }

    fn reference(header: &str) -> Option<u128> {
        let carrier = HashMap::from([("traceparent".to_owned(), header.to_owned())]);
        let context = TraceContextPropagator::new().extract(&carrier);
        let span = context.span().span_context().clone();
        span.is_valid().then(|| u128::from_be_bytes(span.trace_id().to_bytes()))
    }

    proptest! {
        #[test]
        fn an_address_is_written_as_it_displays_itself(address: IpAddr) {
            let context = RequestContext::new(Method::GET, Uri::default(), &HeaderMap::new(), address);
            prop_assert_eq!(context.client_text(), address.to_string());
        }

        #[test]
        fn a_well_formed_traceparent_is_read_as_the_sdk_reads_it(
            header in "00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-3]",
        ) {
            prop_assert_eq!(TraceParent::parse(&header).map(|parent| parent.trace_id), reference(&header));
        }

        #[test]
        fn any_other_header_is_no_traceparent_and_no_panic(header in "\\PC*") {
            prop_assert_eq!(TraceParent::parse(&header), None);
        }
    }

    #[test]
    fn malformed_traceparents_are_refused() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        for header in [
            format!("00-{trace}-00f067aa0ba902b7-01-more"),
            format!("ff-{trace}-00f067aa0ba902b7-01"),
            format!("00-{trace}-0000000000000000-01"),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()),
            format!("00-{trace}-00f067aa0ba902b7"),
        ] {
            assert_eq!(TraceParent::parse(&header), None, "{header}");
        }
        assert!(TraceParent::parse(&format!("01-{trace}-00f067aa0ba902b7-01-more")).is_some());
    }

    #[test]
    fn a_request_id_is_taken_over_only_if_it_is_short_visible_ascii() {
        for (given, taken) in [
            ("abc-123", true),
            ("", false),
            ("with space", false),
            (&"x".repeat(128), true),
            (&"x".repeat(129), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_str(given).unwrap());
            let context = context_of(&headers);
            assert_eq!(context.request_id() == given, taken, "{given}");
            assert!(!context.request_id().is_empty());
        }
    }

    fn outgoing(context: &RequestContext) -> TraceParent {
        let [(name, traceparent), (_, request_id)] = context.outgoing_headers();
        assert_eq!(name, "traceparent");
        assert_eq!(request_id, context.request_id());
        TraceParent::parse(&traceparent).unwrap()
    }

    #[test]
    fn a_call_to_another_service_is_a_new_span_of_the_same_trace() {
        let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff";
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_static(header));
        let caller = TraceParent::parse(header).unwrap();
        let context = context_of(&headers);

        let (first, second) = (outgoing(&context), outgoing(&context));

        assert_eq!(first.trace_id, caller.trace_id);
        // The other bits mean nothing yet.
        assert_eq!(first.flags, 1);
        assert_ne!(first.span_id, caller.span_id);
        assert_ne!(first.span_id, second.span_id);
        let without_caller = context_of(&HeaderMap::new());
        assert_eq!(outgoing(&without_caller).flags, 0);
    }

    #[test]
    fn a_tracestate_is_passed_on_if_it_is_well_formed_and_short() {
        let caller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let long = |length: usize| format!("a={}", "x".repeat(length - 2));
        for (traceparent, given, passed_on) in [
            (Some(caller), vec!["a=1,b@c=2"], Some("a=1,b@c=2")),
            (Some(caller), vec!["a=1", "", " b=2 "], Some("a=1,b=2")),
            (Some(caller), vec![&*long(256)], Some(&*long(256))),
            (Some(caller), vec![&*long(256), &*long(256)], None),
            (Some(caller), vec![&*long(64 * 1024)], None),
            (Some(caller), vec!["no list"], None),
            (Some(caller), vec!["A=upper"], None),
            (Some(caller), vec![], None),
            (Some("00-0-0-0"), vec!["a=1"], None),
            (None, vec!["a=1"], None),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(traceparent) = traceparent {
                headers.insert(TRACEPARENT, HeaderValue::from_static(traceparent));
            }
            for value in &given {
                headers.append(TRACESTATE, HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(context_of(&headers).tracestate(), passed_on, "{given:?}");
        }
    }

    #[test]
    fn an_exported_span_is_the_parent_of_a_call_to_another_service() {
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));

        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let span = tracing::info_span!("request").entered();
            let exported = span.context().span().span_context().clone();

            let call = outgoing(&context_of(&HeaderMap::new()));
            let current = TraceParent::current().unwrap();

            assert_eq!(TraceParent::parse(&current.to_string()), Some(current));
            assert_eq!(current.trace_id.to_be_bytes(), exported.trace_id().to_bytes());
            assert_eq!(current.span_id, call.span_id);
            assert_eq!(call.span_id.to_be_bytes(), exported.span_id().to_bytes());
            assert_eq!(call.flags, 1);
        });
    }
}
