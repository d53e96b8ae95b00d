//! What a client may send.

mod forms;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, web};
use common::Problem;
use common::config::Secret;
use common::secrets::Reloadable;
use futures_util::future::LocalBoxFuture;
use serde::Serialize;
use server::extract::{Body, Json, basic_credentials};
use subtle::ConstantTimeEq as _;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::error::Error;

/// The longest `Idempotency-Key`.
const MAX_KEY: usize = 255;

/// Who may change data.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) name: String,
    /// Each line is accepted.
    pub(crate) password: Reloadable<Secret>,
}

/// A client that may change data: that has the credentials, if there are any to have, and is no page of
/// another site, for which a browser would send them along.
#[derive(Debug)]
pub(super) struct Authorized;

server::from_head!(Authorized, authorize);

fn authorize(request: &HttpRequest) -> Result<Authorized, Error> {
    let user = request.app_data::<web::Data<Option<User>>>().ok_or(Error::Unauthorized)?;
    if let Some(User { name, password }) = &***user {
        let given = basic_credentials(request).ok_or(Error::Unauthorized)?;
        // Both are compared whatever the first comparison says.
        let right =
            bool::from(given.name.ct_eq(name.as_bytes())) & password.get().accepts(&given.password);
        if !right {
            return Err(Error::Unauthorized);
        }
    }
    let site = request.headers().get("sec-fetch-site");
    if site.is_some_and(|site| site == "cross-site") {
        return Err(Error::CrossSite);
    }
    Ok(Authorized)
}

/// What a client calls its request, so that a repeat is known as one.
#[derive(Debug)]
pub(super) struct IdempotencyKey(pub(super) Option<String>);

server::from_head!(IdempotencyKey, idempotency_key);

fn idempotency_key(request: &HttpRequest) -> Result<IdempotencyKey, Error> {
    let mut values = request.headers().get_all("idempotency-key");
    let key = match (values.next(), values.next()) {
        (None, _) => return Ok(IdempotencyKey(None)),
        (Some(key), None) => key.to_str().ok(),
        _ => None,
    };
    let is_key = |key: &&str| {
        (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let bad = "`Idempotency-Key` must be one value of 1 to 255 visible ASCII characters";
    let key = key.filter(is_key).ok_or(Error::BadRequest(bad))?;
    Ok(IdempotencyKey(Some(key.to_owned())))
}

/// What a client sends.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DataForm {
    /// The datum, kept byte for byte.
    #[schema(example = "whatever I want to post..", min_length = 1)]
    data: String,
}

/// The same in parts: what a form calls them stands in headers, which have no control characters.
pub(super) struct DataParts;

impl PartialSchema for DataParts {
    fn schema() -> RefOr<Schema> {
        // A browser sends a line break in a name as an escape.
        let names = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$";
        let names = ObjectBuilder::new().schema_type(Type::String).pattern(Some(names));
        match DataForm::schema() {
            RefOr::T(Schema::Object(form)) => {
                ObjectBuilder::from(form).property_names(Some(names)).into()
            }
            form => form,
        }
    }
}

impl ToSchema for DataParts {}

/// The datum of a form or of JSON, not empty.
#[derive(Debug)]
pub(super) struct Datum(pub(super) String);

impl FromRequest for Datum {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let format = Format::of(request);
        let body = Body::from_request(request, payload);
        Box::pin(async move {
            let (format, body) = (format?, body.await?.without_mark());
            let data = match format {
                Format::UrlEncoded => forms::urlencoded(&body)?,
                Format::Multipart(boundary) => forms::multipart(body, boundary).await?,
                Format::Json => forms::strings(Json::parse(&body)?.0)?,
            };
            Ok(Self(forms::only(data)?))
        })
    }
}

/// How the datum comes.
enum Format {
    UrlEncoded,
    /// With the boundary between its parts.
    Multipart(String),
    Json,
}

impl Format {
    fn of(request: &HttpRequest) -> Result<Self, Error> {
        let Some(mime) = request.mime_type().map_err(|_| Error::MediaType)? else {
            return Ok(Self::Json);
        };
        if mime.essence_str() == mime::APPLICATION_WWW_FORM_URLENCODED.essence_str() {
            Ok(Self::UrlEncoded)
        } else if mime.essence_str() == mime::MULTIPART_FORM_DATA.essence_str() {
            let boundary = mime.get_param(mime::BOUNDARY);
            let boundary = boundary.ok_or(Error::BadRequest(forms::BROKEN))?;
            Ok(Self::Multipart(boundary.as_str().to_owned()))
        } else if mime.subtype() == mime::JSON || mime.suffix() == Some(mime::JSON) {
            Ok(Self::Json)
        } else {
            Err(Error::MediaType)
        }
    }
}
