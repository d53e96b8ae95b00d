//! What a client may send, parsed before a handler sees it.

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use common::Problem;
use server::extract::{self, Json, MediaType, Member, Members, Query};
use std::pin::Pin;
use utoipa::ToSchema;

use crate::error::Error;
use crate::repeats::Subject;

/// The text in the parameter `param` of the query string.
#[derive(Debug)]
pub(super) struct FromQuery(pub(super) Subject);

server::from_head!(FromQuery, from_query);

fn from_query(request: &HttpRequest) -> Result<FromQuery, Problem> {
    let Query(parameters) = Query::<Vec<(String, String)>>::extract(request).into_inner()?;
    let values = parameters.into_iter().filter(|(name, _)| name == "param");
    Ok(FromQuery(one(values.map(|(_, value)| value))?))
}

/// The text that a body is, or the member `param` of a JSON body.
#[derive(Debug)]
pub(super) struct FromBody(pub(super) Subject);

impl FromRequest for FromBody {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let media_type = MediaType::of(request);
        let body = extract::Body::from_request(request, payload);
        Box::pin(async move {
            let media_type = media_type?;
            let extract::Body(body) = body.await?;
            let json = match media_type {
                MediaType::Json => true,
                MediaType::Text => false,
                // Without a word from the client, what looks like our object is one.
                MediaType::None => {
                    let body = extract::Body(body.clone()).without_mark();
                    body.trim_ascii_start().starts_with(b"{")
                }
            };
            let text = if json {
                let Json(params) = Json::<Members<Param, String>>::parse(&body)?;
                one(params.0.into_iter())?
            } else {
                String::from_utf8(body.into()).map_err(|_| Error::NotUtf8)?.parse()?
            };
            Ok(Self(text))
        })
    }
}

/// Exactly one value.
fn one(mut values: impl Iterator<Item = String>) -> Result<Subject, Error> {
    match (values.next(), values.next()) {
        (None, _) => Err(Error::Missing),
        (Some(value), None) => value.try_into(),
        (Some(_), Some(_)) => Err(Error::Ambiguous),
    }
}

/// A body as text.
#[derive(ToSchema)]
#[schema(min_length = 2)]
#[expect(dead_code, reason = "describes the body for the OpenAPI document")]
pub(super) struct Text(String);

/// A body as JSON.
#[derive(ToSchema)]
#[schema(as = Query)]
#[expect(dead_code, reason = "describes for the OpenAPI document what `Param` names")]
pub(super) struct Body {
    /// The text, at least two characters.
    #[schema(example = "acx333x", min_length = 2)]
    param: String,
}

/// The member `param` of a JSON body.
struct Param;

impl Member for Param {
    const NAME: &'static str = "param";
    const EXPECTED: &'static str = "an object with a text `param`";
}
