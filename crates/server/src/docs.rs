//! The page that shows the OpenAPI document.

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ContentEncoding,
};
use actix_web::{HttpResponse, get, web};
use bytes::Bytes;
use common::Problem;
use utoipa::openapi::OpenApi;

use crate::routes::no_such_route;

/// The page loads its own script and style and nothing else; Swagger UI sets styles and inline images itself.
const PAGE_POLICY: &str = "default-src 'none'; connect-src 'self'; font-src 'self'; \
    img-src 'self' data:; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The document as it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Document(Bytes);

impl Document {
    pub(crate) fn new(document: &OpenApi) -> Self {
        Self(document.to_pretty_json().unwrap_or_default().into())
    }
}

/// This document.
#[utoipa::path(
    tag = "operations",
    responses((status = 200, description = "The OpenAPI document", body = serde_json::Value)),
)]
#[get("/openapi.json")]
pub(crate) async fn get_openapi(document: web::Data<Document>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(document.0.clone())
}

/// A page that shows this document and tries its requests.
#[utoipa::path(
    tag = "operations",
    responses((status = 200, description = "The page", body = String, content_type = "text/html")),
)]
#[get("/docs")]
pub(crate) async fn get_docs() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((CONTENT_SECURITY_POLICY, PAGE_POLICY))
        .body(include_str!("docs/index.html"))
}

pub(crate) async fn get_docs_file(file: web::Path<String>) -> Result<HttpResponse, Problem> {
    let mut response = HttpResponse::Ok();
    response.insert_header((CACHE_CONTROL, "public, max-age=3600"));
    if *file == "start.js" {
        return Ok(response.content_type("text/javascript").body(include_str!("docs/start.js")));
    }
    let config = std::sync::Arc::new(utoipa_swagger_ui::Config::from("/openapi.json"));
    match utoipa_swagger_ui::serve(&file, config) {
        // Its own page would load an inline script.
        Ok(Some(found)) if !file.ends_with(".html") => {
            if found.gzpipped {
                response.insert_header(ContentEncoding::Gzip);
            }
            Ok(response.content_type(found.content_type).body(match found.bytes {
                std::borrow::Cow::Borrowed(bytes) => Bytes::from_static(bytes),
                std::borrow::Cow::Owned(bytes) => bytes.into(),
            }))
        }
        _ => Err(no_such_route()),
    }
}
