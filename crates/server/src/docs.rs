//! The page that shows the OpenAPI document.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::sync::{Mutex, PoisonError};

use actix_web::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ContentEncoding, VARY,
};
use actix_web::{HttpRequest, HttpResponse, get, web};
use bytes::Bytes;
use common::{Problem, Service};
use flate2::bufread::GzDecoder;
use utoipa::openapi::OpenApi;

use crate::page::icon;
use crate::references::reference;
use crate::routes::no_such_route;

/// The page loads its own script and style and nothing else; Swagger UI sets styles and inline images itself.
const PAGE_POLICY: &str = "default-src 'none'; connect-src 'self'; font-src 'self'; \
    img-src 'self' data:; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Where the README is, beside the other parts of the page.
pub(crate) const README: &str = "README.md";

/// The document as it is sent, and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    json: Bytes,
    service: Service,
}

impl Document {
    pub(crate) fn new(service: Service, document: &OpenApi) -> Self {
        Self { json: document.to_pretty_json().unwrap_or_default().into(), service }
    }
}

/// This document.
#[utoipa::path(
    tag = "operations",
    responses((status = 200, description = "The OpenAPI document", body = serde_json::Value)),
)]
#[get("/openapi.json")]
pub(crate) async fn get_openapi(document: web::Data<Document>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(document.json.clone())
}

/// A page that shows this document and tries its requests.
#[utoipa::path(
    tag = "operations",
    responses((status = 200, description = "The page", body = String, content_type = "text/html")),
)]
#[get("/docs")]
pub(crate) async fn get_docs(document: web::Data<Document>) -> HttpResponse {
    let name = document.service.name;
    let page = include_str!("docs/index.html").replace("NAME", name).replace("ICON", &icon(name));
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((CONTENT_SECURITY_POLICY, PAGE_POLICY))
        // Whatever a proxy has before the path, and with or without a slash behind it.
        .body(page.replace("ROOT/", &reference("/")))
}

pub(crate) async fn get_docs_file(
    request: HttpRequest,
    file: web::Path<String>,
    document: web::Data<Document>,
) -> Result<HttpResponse, Problem> {
    let mut response = HttpResponse::Ok();
    response.insert_header((CACHE_CONTROL, "public, max-age=3600"));
    let own = match file.as_str() {
        "start.js" => Some(("text/javascript", include_str!("docs/start.js"))),
        // As text: browsers show that, and save `text/markdown`.
        README => Some(("text/plain; charset=utf-8", document.service.readme)),
        _ => None,
    };
    if let Some((media_type, text)) = own {
        return Ok(response.content_type(media_type).body(text));
    }
    let config = std::sync::Arc::new(utoipa_swagger_ui::Config::from("/openapi.json"));
    match utoipa_swagger_ui::serve(&file, config) {
        // Its own page would load an inline script.
        Ok(Some(found)) if !file.ends_with(".html") => {
            let mut bytes = match found.bytes {
                Cow::Borrowed(bytes) => Bytes::from_static(bytes),
                Cow::Owned(bytes) => bytes.into(),
            };
            if found.gzpipped {
                response.insert_header((VARY, "Accept-Encoding"));
                if takes_gzip(&request) {
                    response.insert_header(ContentEncoding::Gzip);
                } else {
                    bytes = decoded(&file, &bytes).map_err(Problem::internal)?;
                }
            }
            Ok(response.content_type(found.content_type).body(bytes))
        }
        _ => Err(no_such_route()),
    }
}

/// A file decoded, once for all who cannot do that themselves.
fn decoded(file: &str, bytes: &[u8]) -> io::Result<Bytes> {
    static DECODED: Mutex<BTreeMap<String, Bytes>> = Mutex::new(BTreeMap::new());
    let mut decoded = DECODED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(bytes) = decoded.get(file) {
        return Ok(bytes.clone());
    }
    let bytes = Bytes::from(decode(bytes)?);
    decoded.insert(file.to_owned(), bytes.clone());
    Ok(bytes)
}

/// Whether a client says that it decodes gzip; some proxies take what it said away.
fn takes_gzip(request: &HttpRequest) -> bool {
    let values = request.headers().get_all(ACCEPT_ENCODING);
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(
        |coding| {
            let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
            let weight =
                weight.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
            name.trim().eq_ignore_ascii_case("gzip") && weight.is_none_or(|weight| weight > 0.0)
        },
    )
}

fn decode(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut decoded = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut decoded)?;
    Ok(decoded)
}
