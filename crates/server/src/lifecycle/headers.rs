//! The headers that all answers share.

use actix_http::ConnectionType;
use actix_web::HttpResponse;
use actix_web::http::header::{
    CONTENT_SECURITY_POLICY, HeaderValue, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use common::context::{REQUEST_ID, RequestContext};

/// The `Content-Security-Policy` of all answers but pages: they show nothing, load nothing and are framed by nobody.
const DEFAULT_CSP: &str = "default-src 'none'; frame-ancestors 'none'";

/// The `Strict-Transport-Security` of answers over HTTPS: browsers are to use it for a year, for this host.
const HSTS_VALUE: &str = "max-age=31536000";

/// What decides on the headers of an answer, beside its request.
pub(super) struct SharedHeaders {
    /// The client is to use HTTPS from now on.
    pub(super) hsts: bool,
    /// The connection is to end.
    pub(super) close: bool,
}

impl SharedHeaders {
    /// Sets them. A policy that the handler has set stays.
    pub(super) fn set(&self, response: &mut HttpResponse, context: &RequestContext) {
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, context.request_id_header());
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if !headers.contains_key(CONTENT_SECURITY_POLICY) {
            headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(DEFAULT_CSP));
        }
        if self.hsts {
            headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HSTS_VALUE));
        }
        if self.close {
            response.head_mut().set_connection_type(ConnectionType::Close);
        }
    }
}
