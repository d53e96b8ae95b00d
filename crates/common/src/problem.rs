//! Errors as clients see them: problem details (RFC 9457).

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder};

#[doc(hidden)]
pub use utoipa::IntoResponses;

use crate::causes::causes;
use crate::context::RequestContext;

/// The media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// An answer that says what is wrong, with the cause for the log.
///
/// A service turns its error enum into one with an exhaustive `From`. The client reads status, title, detail and
/// members; the cause is for the access log alone.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    detail: Option<String>,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
    close: bool,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl Problem {
    /// A problem that says no more than its status.
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        Self {
            status,
            detail: None,
            members: Map::new(),
            headers: Vec::new(),
            close: false,
            cause: None,
        }
    }

    /// Makes a problem of a status, whose detail is what an error says.
    pub fn of<E: fmt::Display>(error: &E) -> impl FnOnce(StatusCode) -> Self + use<E> {
        let detail = error.to_string();
        move |status| Self::new(status).detail(detail)
    }

    /// A 500: the client learns nothing, the log the cause.
    pub fn internal(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR).caused_by(cause)
    }

    /// What is wrong with this request, in a sentence for whoever sent it.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// One more member of the JSON object.
    #[must_use]
    pub fn member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// One more header of the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// When the client may try again; full seconds, rounded up.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.header(RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Ends the connection after the answer, because what follows on it cannot be trusted or is unwanted.
    #[must_use]
    pub fn close(mut self) -> Self {
        self.close = true;
        self
    }

    /// Why it happened, for the log.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The cause and its causes in turn, joined by `: `.
    #[must_use]
    pub fn causes(&self) -> Option<String> {
        self.cause.as_deref().map(|cause| causes(cause))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.status.canonical_reason().unwrap_or("unknown"))?;
        self.detail.iter().try_for_each(|detail| write!(f, ": {detail}"))
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let body = ProblemDetails {
            r#type: "about:blank".into(),
            title: self.status.canonical_reason().unwrap_or("Unknown").into(),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            request_id: RequestContext::with_current(|context| context.request_id().to_owned()),
            members: self.members.clone(),
        };
        let mut response = HttpResponse::build(self.status);
        for header in &self.headers {
            response.insert_header(header.clone());
        }
        if self.close {
            response.force_close();
        }
        response.insert_header((CONTENT_TYPE, MEDIA_TYPE));
        response.body(serde_json::to_vec(&body).unwrap_or_default())
    }
}

/// What went wrong, as described by RFC 9457.
#[derive(Debug, serde::Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDetails {
    /// Always `about:blank`: the status says what kind of problem it is.
    #[schema(example = "about:blank")]
    r#type: String,
    /// The status in words.
    #[schema(example = "Bad Request")]
    title: String,
    /// The status code.
    #[schema(example = 400)]
    status: u16,
    /// What is wrong with this request.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// The request's id, as in the header `X-Request-Id` and in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(flatten)]
    #[schema(ignore)]
    members: Map<String, Value>,
}

/// Answers of an OpenAPI document, by status.
pub type Responses = BTreeMap<String, RefOr<Response>>;

/// Declares sets of problem answers for OpenAPI documents. Each is a type that `responses(..)` of
/// `#[utoipa::path]` takes.
///
/// A set may include others; its own descriptions replace theirs.
///
/// ```
/// common::problems! {
///     /// What every endpoint of the store may answer.
///     pub StoreProblems { 503: "The store cannot be reached" }
///
///     /// What an update may answer.
///     pub UpdateProblems: StoreProblems { 404: "No such entry", 409: "The entry was changed by another client" }
/// }
///
/// #[utoipa::path(put, path = "/entry", responses((status = 204, description = "Updated"), UpdateProblems))]
/// fn put_entry() {}
/// ```
#[macro_export]
macro_rules! problems {
    ($(
        $(#[$attribute:meta])*
        $visibility:vis $name:ident $(: $($set:ty),+)? { $($status:tt: $description:literal),* $(,)? }
    )+) => { $(
        $(#[$attribute])*
        #[derive(Debug)]
        $visibility enum $name {}

        impl $crate::problem::IntoResponses for $name {
            fn responses() -> $crate::problem::Responses {
                let mut responses = $crate::problem::Responses::new();
                $($(responses.extend(<$set as $crate::problem::IntoResponses>::responses());)+)?
                $(responses.insert(
                    stringify!($status).to_owned(),
                    $crate::problem::response($description),
                );)*
                responses
            }
        }
    )+ };
}

/// One answer of [`problems!`](crate::problems). Every service's `/readyz` brings the schema that it refers to.
#[doc(hidden)]
#[must_use]
pub fn response(description: &str) -> RefOr<Response> {
    let schema = Ref::from_schema_name("Problem");
    let content = Content::new(Some(schema));
    let response = ResponseBuilder::new().description(description).content(MEDIA_TYPE, content);
    RefOr::T(response.build())
}
