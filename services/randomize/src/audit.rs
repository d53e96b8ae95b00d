//! The audit trail: what surrounds every request for words.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest as _, HttpMessage as _, ResponseError as _, web};
use common::context::RequestContext;
use server::extract::Body;

use crate::store::{Audited, Store, Time};

/// The most of a body that is kept, in bytes.
const MAX_DATA: usize = 4096;

/// Marks a body of which only the beginning is kept; part of the 4 KiB.
const CUT: &str = "…";

/// Leaves an audit row for the request, unless its handler has done so.
///
/// A request that changes nothing is answered before its row is kept, any other after that.
pub(crate) async fn record<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let (request, mut payload) = request.into_parts();
    let body = Body::from_request(&request, &mut payload).await;
    let data = body.as_ref().map(|Body(body)| text(body)).unwrap_or_default();
    request.extensions_mut().insert(audited(data));
    let response = match body {
        Ok(body) => {
            request.extensions_mut().insert(body);
            let request = ServiceRequest::from_parts(request, Payload::None);
            next.call(request).await?.map_into_boxed_body()
        }
        Err(problem) => {
            let response = problem.error_response();
            ServiceResponse::new(request, response)
        }
    };
    let pending = response.request().extensions_mut().remove::<Audited>();
    if let (Some(audited), Some(store)) =
        (pending, response.request().app_data::<web::Data<Store>>())
    {
        keep(store, audited, response.status()).await;
    }
    Ok(response)
}

async fn keep(store: &Store, audited: Audited, status: StatusCode) {
    match status {
        // They come from the database alone.
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::INSUFFICIENT_STORAGE => {
            store.metrics.unaudited.inc();
        }
        _ if is_safe(&audited.method) => store.audit_later(audited, status),
        _ => store.audit(audited, status).await,
    }
}

/// Whether a method changes nothing (RFC 9110, 9.2.1).
fn is_safe(method: &str) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS].iter().any(|safe| safe == method)
}

fn audited(data: String) -> Audited {
    let (method, route) = RequestContext::with_current(|context| {
        (context.method().to_string(), context.uri().path().to_owned())
    })
    .unwrap_or_default();
    Audited { created: Time::now(), method, route, data }
}

/// A body as text that both databases can keep, at most 4 KiB of it.
fn text(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body).replace('\0', "\u{fffd}");
    if text.len() <= MAX_DATA {
        return text;
    }
    let end = text.floor_char_boundary(MAX_DATA - CUT.len());
    format!("{}{CUT}", &text[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_kept_of_a_body_is_short_text_without_nul(body in any::<Vec<u8>>(), times in 1..200_usize) {
            let kept = text(&body.repeat(times));

            prop_assert!(kept.len() <= MAX_DATA);
            prop_assert!(!kept.contains('\0'));
        }
    }

    #[test]
    fn a_long_body_is_cut_at_a_character_and_marked() {
        assert_eq!(text(b"short"), "short");
        assert_eq!(text(&[b'x'; 4096]), "x".repeat(4096));
        assert_eq!(text(&[b'x'; 4097]), format!("{}…", "x".repeat(4093)));
        assert_eq!(text("é".repeat(2049).as_bytes()), format!("{}…", "é".repeat(2046)));
        assert_eq!(text(b"a\0b\xffc"), "a\u{fffd}b\u{fffd}c");
    }
}
