//! Lookup and validation.

use std::net::{IpAddr, Ipv4Addr};

use actix_web::{post, web};
use chrono::SecondsFormat;
use common::{Problem, problems};
use serde::{Deserialize, Serialize};
use server::extract::Json;
use utoipa::ToSchema;

use crate::domain::{Domain, is_ipv4};
use crate::lookup::Lookups;
use crate::store::Query;

problems! {
    /// What a lookup may answer.
    LookupProblems {
        4XX: "No domain name (422), no addresses (404), too many lookups (429)",
        5XX: "The resolver fails (502, 504), or the database (503, 507)",
    }

    /// What a validation may answer.
    ValidateProblems { 4XX: "No text in `ip`" }
}

/// What to look up.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct LookupRequest {
    /// The name; internationalised ones are converted to A-labels.
    pub(super) domain: Domain,
}

/// An address of a name.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Address {
    #[schema(value_type = String, format = Ipv4, example = "93.184.216.34")]
    pub(super) ip: Ipv4Addr,
}

/// A lookup that was saved.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SavedQuery {
    /// Later lookups have greater ones.
    id: i64,
    /// Who asked: the peer, or who a trusted proxy says.
    #[schema(value_type = String, example = "127.0.0.1")]
    client_ip: IpAddr,
    /// The name that was looked up.
    domain: Domain,
    /// When, in UTC, with milliseconds.
    #[schema(format = DateTime, example = "2024-05-13T08:47:47.037Z")]
    created_at: String,
    /// What was found, in numeric order.
    addresses: Vec<Address>,
}

impl From<Query> for SavedQuery {
    fn from(Query { id, lookup }: Query) -> Self {
        Self {
            id,
            addresses: lookup.addresses.iter().map(|&ip| Address { ip }).collect(),
            client_ip: lookup.client_ip,
            domain: lookup.domain,
            created_at: lookup.created_at.to_rfc3339_opts(SecondsFormat::Millis, true),
        }
    }
}

/// What a lookup has found, in the shape of one of the two APIs.
pub(super) async fn answer<T: From<Query>>(
    request: LookupRequest,
    lookups: &Lookups,
) -> Result<web::Json<T>, Problem> {
    Ok(web::Json(lookups.look_up(request.domain).await?.into()))
}

/// Look up the IPv4 addresses of a domain name, and save what was found.
#[utoipa::path(
    tag = "stakefish",
    request_body = LookupRequest,
    responses(
        (status = 200, description = "The addresses; they are saved", body = SavedQuery),
        LookupProblems,
    ),
)]
#[post("/tools/lookup")]
pub(crate) async fn post_lookup(
    Json(request): Json<LookupRequest>,
    lookups: web::Data<Lookups>,
) -> Result<web::Json<SavedQuery>, Problem> {
    answer(request, &lookups).await
}

/// What may be an address.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ValidateRequest {
    #[schema(example = "192.168.5.4")]
    pub(super) ip: String,
}

/// Whether it is one.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Validation {
    /// Whether the text is an IPv4 address: four decimal numbers, no leading zeros, nothing else.
    valid: bool,
}

/// Say whether a text is an IPv4 address.
#[utoipa::path(
    tag = "stakefish",
    request_body = ValidateRequest,
    responses(
        (status = 200, description = "Whether it is one", body = Validation),
        ValidateProblems,
    ),
)]
#[post("/tools/validate")]
pub(crate) async fn post_validate(Json(request): Json<ValidateRequest>) -> web::Json<Validation> {
    web::Json(Validation { valid: is_ipv4(&request.ip) })
}
