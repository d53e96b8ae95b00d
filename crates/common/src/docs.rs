//! The OpenAPI document, the page that shows it, and the answers to what it does not list.

use actix_web::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ContentEncoding,
};
use actix_web::http::{Method, StatusCode};
use actix_web::{App, HttpRequest, HttpResponse, get, web};
use bytes::Bytes;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};
use utoipa_actix_web::AppExt as _;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::server::RouteTable;
use crate::{Problem, Service};

/// Where the parts of the page `/docs` are; they are nobody's interface, and no part of the document.
pub(crate) const PAGE_PARTS: &str = "/docs/{file}";

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

/// The OpenAPI document of a service with these routes, the common endpoints included.
pub fn document(service: &Service, routes: impl Fn(&mut ServiceConfig<'_>)) -> OpenApi {
    document_of(service, |config: &mut ServiceConfig<'_>| {
        configure(config, &routes, Face::Only);
    })
}

/// The OpenAPI document of an application.
pub(crate) fn document_of(
    service: &Service,
    configure: impl Fn(&mut ServiceConfig<'_>),
) -> OpenApi {
    let info = InfoBuilder::new()
        .title(service.name)
        .version(service.version)
        .description(Some(service.description))
        .license(Some(
            LicenseBuilder::new()
                .name("MIT OR Apache-2.0")
                .identifier(Some("MIT OR Apache-2.0"))
                .build(),
        ))
        .build();
    // The order of the page: what the service is for comes first.
    let tags = [(service.name, service.description), ("operations", "What every service answers")];
    let tags =
        tags.map(|(name, text)| TagBuilder::new().name(name).description(Some(text)).build());
    let (_, mut document) = App::new()
        .into_utoipa_app()
        .openapi(OpenApiBuilder::new().info(info).tags(Some(tags)).build())
        .configure(configure)
        .split_for_parts();
    document.servers = None;
    describe_security(&mut document);
    document
}

/// Describes the schemes that operations ask for.
fn describe_security(document: &mut OpenApi) {
    let json = document.to_json().unwrap_or_default();
    let schemes = [("bearerAuth", HttpAuthScheme::Bearer), ("basicAuth", HttpAuthScheme::Basic)];
    for (name, scheme) in schemes {
        if json.contains(&format!("\"{name}\"")) {
            let components = document.components.get_or_insert_default();
            components.add_security_scheme(name, SecurityScheme::Http(Http::new(scheme)));
        }
    }
}

/// Which of a service's endpoints a port has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Face {
    /// All: there is no other port.
    Only,
    /// All but the metrics, which are on the admin port.
    Public,
    /// Probes and metrics.
    Admin,
}

/// The endpoints that a port has: the service's own and those that every service has.
pub(crate) fn configure(
    config: &mut ServiceConfig<'_>,
    routes: impl Fn(&mut ServiceConfig<'_>),
    face: Face,
) {
    if face != Face::Admin {
        routes(config);
    }
    config.service(crate::probes::get_liveness).service(crate::probes::get_readiness);
    if face != Face::Public {
        config.service(crate::metrics::get_metrics);
    }
    if face != Face::Admin {
        config
            .service(get_openapi)
            .service(get_docs)
            .route(PAGE_PARTS, web::get().to(get_docs_file));
    }
}

/// This document.
#[utoipa::path(
    tag = "operations",
    responses((status = 200, description = "The OpenAPI document", body = serde_json::Value)),
)]
#[get("/openapi.json")]
async fn get_openapi(document: web::Data<Document>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(document.0.clone())
}

/// A page that shows this document and tries its requests.
#[utoipa::path(
    tag = "operations",
    responses((status = 200, description = "The page", body = String, content_type = "text/html")),
)]
#[get("/docs")]
async fn get_docs() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((CONTENT_SECURITY_POLICY, PAGE_POLICY))
        .body(include_str!("docs/index.html"))
}

async fn get_docs_file(file: web::Path<String>) -> Result<HttpResponse, Problem> {
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
            Ok(response.content_type(found.content_type).body(found.bytes.into_owned()))
        }
        _ => Err(nothing_here()),
    }
}

/// What no handler takes: another method of a known path, or an unknown path.
pub(crate) async fn answer_unmatched(
    request: HttpRequest,
    routes: web::Data<RouteTable>,
) -> Result<HttpResponse, Problem> {
    let Some(allow) = routes.allow(routes.find(request.match_info().as_str())) else {
        return Err(nothing_here());
    };
    if request.method() == Method::OPTIONS {
        return Ok(HttpResponse::NoContent().insert_header((ALLOW, allow)).finish());
    }
    let detail = format!("the path takes {allow}");
    let allow = allow.parse().map_err(Problem::internal)?;
    Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED).detail(detail).header(ALLOW, allow))
}

fn nothing_here() -> Problem {
    Problem::new(StatusCode::NOT_FOUND).detail("there is nothing at this path")
}
