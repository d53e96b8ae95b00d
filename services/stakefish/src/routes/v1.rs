//! The endpoints of the challenge's OpenAPI definition, with its operation ids: other shapes and other words for the
//! same.

mod problems;

use std::net::IpAddr;
use std::sync::LazyLock;

use actix_web::dev::HttpServiceFactory;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpResponse, get, post, web};
use common::Problem;
use serde::Serialize;
use server::extract::{Json, Pagination, Query};
use utoipa::ToSchema;
use utoipa::openapi::{Info, Server};
use utoipa_actix_web::{AppExt as _, OpenApiFactory};

use problems::HttpError;

use super::tools::{Address, LookupRequest, ValidateRequest};
use super::{history, tools};
use crate::config::SERVICE;
use crate::domain::{Domain, is_ipv4};
use crate::lookup::Lookups;
use crate::store::{self, Store};

/// Everything below `/v1`.
pub(super) fn scope() -> impl HttpServiceFactory + OpenApiFactory {
    utoipa_actix_web::scope("/v1")
        .wrap(from_fn(problems::translate))
        .service(get_v1_lookup)
        .service(post_v1_validate)
        .service(get_v1_history)
        .service(get_v1_openapi)
}

/// A lookup that was saved.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Query)]
struct SavedQuery {
    /// What was found, in numeric order.
    addresses: Vec<Address>,
    /// Who asked: the peer, or who a trusted proxy says.
    #[schema(value_type = String, example = "127.0.0.1")]
    client_ip: IpAddr,
    /// When, in seconds since 1970.
    created_at: i64,
    /// The name that was looked up.
    domain: Domain,
}

impl From<store::Query> for SavedQuery {
    fn from(store::Query { lookup, .. }: store::Query) -> Self {
        Self {
            addresses: lookup.addresses.iter().map(|&ip| Address { ip }).collect(),
            client_ip: lookup.client_ip,
            created_at: lookup.created_at.timestamp(),
            domain: lookup.domain,
        }
    }
}

/// Look up the IPv4 addresses of a domain name, and save what was found.
#[utoipa::path(
    tag = "v1",
    operation_id = "lookup_domain",
    params(("domain" = Domain, Query, description = "The name; internationalised ones are converted to A-labels")),
    responses(
        (status = 200, description = "The addresses; they are saved", body = SavedQuery),
        (status = "4XX", description = "No domain name (400), no addresses (404), too many lookups (429)", body = HttpError, content_type = "application/problem+json"),
        (status = "5XX", description = "The resolver fails (502, 504), or the database (503, 507)", body = HttpError, content_type = "application/problem+json"),
    ),
)]
#[get("/tools/lookup")]
async fn get_v1_lookup(
    Query(request): Query<LookupRequest>,
    lookups: web::Data<Lookups>,
) -> Result<web::Json<SavedQuery>, Problem> {
    tools::answer(request, &lookups).await
}

/// Whether it is one.
#[derive(Debug, Serialize, ToSchema)]
struct ValidateResponse {
    /// Whether the text is an IPv4 address: four decimal numbers, no leading zeros, nothing else.
    status: bool,
}

/// Say whether a text is an IPv4 address.
#[utoipa::path(
    tag = "v1",
    operation_id = "validate_ip",
    request_body = ValidateRequest,
    responses(
        (status = 200, description = "Whether it is one", body = ValidateResponse),
        (status = 400, description = "No text in `ip`", body = HttpError, content_type = "application/problem+json"),
    ),
)]
#[post("/tools/validate")]
async fn post_v1_validate(Json(request): Json<ValidateRequest>) -> web::Json<ValidateResponse> {
    web::Json(ValidateResponse { status: is_ipv4(&request.ip) })
}

/// List the saved lookups, newest first.
#[utoipa::path(
    tag = "v1",
    operation_id = "queries_history",
    params(Pagination<20>),
    responses(
        (status = 200, description = "A page of the list", body = Vec<SavedQuery>,
            headers(("link" = String, description = "The next page, if there is one: `<...>; rel=\"next\"`"))),
        (status = 400, description = "A bad `limit` or `cursor`", body = HttpError, content_type = "application/problem+json"),
        (status = 503, description = "The database is unavailable", body = HttpError, content_type = "application/problem+json"),
    ),
)]
#[get("/history")]
async fn get_v1_history(
    page: Pagination<20>,
    store: web::Data<Store>,
) -> Result<HttpResponse, Problem> {
    history::answer::<SavedQuery>(page, &store).await
}

static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let (_, mut document) = App::new().into_utoipa_app().service(scope()).split_for_parts();
    (document.info, document.servers) =
        (Info::new(SERVICE.name, SERVICE.version), Some(vec![Server::new("..")]));
    // It is nothing but text, numbers and lists.
    document.to_json().unwrap_or_default()
});

/// The OpenAPI document of `/v1` alone.
#[utoipa::path(
    tag = "v1",
    responses((status = 200, description = "The OpenAPI document", body = serde_json::Value)),
)]
#[get("/openapi.json")]
async fn get_v1_openapi() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(DOCUMENT.as_str())
}
