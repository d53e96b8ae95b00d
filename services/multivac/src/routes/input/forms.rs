//! The fields `data` of what a client has sent.

use std::convert::Infallible;

use actix_web::web::Bytes;
use futures_util::stream;
use serde_json::Value;
use server::extract::{Member, Members, percent_decode};

use crate::error::Error;

/// The name of the field.
const FIELD: &str = "data";

/// What is said of a form that cannot be read.
pub(super) const BROKEN: &str = "the form is broken";

const NOT_UTF8: &str = "`data` is not valid UTF-8";

/// The one datum among the fields.
pub(super) fn only(mut data: Vec<String>) -> Result<String, Error> {
    match (data.pop(), data.is_empty()) {
        (None, _) => Err(Error::BadRequest("`data` is missing")),
        (Some(_), false) => Err(Error::BadRequest("`data` is there more than once")),
        (Some(datum), true) if datum.is_empty() => Err(Error::BadRequest("`data` is empty")),
        (Some(datum), true) => Ok(datum),
    }
}

/// Of a form as HTML sends it (<https://url.spec.whatwg.org/#urlencoded-parsing>), but what is no
/// UTF-8 or has a broken escape is refused and not mended.
pub(super) fn urlencoded(body: &[u8]) -> Result<Vec<String>, Error> {
    let mut data = Vec::new();
    for pair in body.split(|byte| *byte == b'&') {
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let (name, value) = (&pair[..at], pair.get(at + 1..).unwrap_or_default());
        let (name, value) = (decode(name)?, decode(value)?);
        if name == FIELD.as_bytes() {
            data.push(text(value)?);
        }
    }
    Ok(data)
}

fn decode(text: &[u8]) -> Result<Vec<u8>, Error> {
    let spaced = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte });
    percent_decode(spaced).ok_or(Error::BadRequest("the form has a broken percent escape"))
}

/// Of a form with parts (RFC 7578).
pub(super) async fn multipart(body: Bytes, boundary: String) -> Result<Vec<String>, Error> {
    let broken = |_| Error::BadRequest(BROKEN);
    let body = stream::iter([Ok::<_, Infallible>(body)]);
    let mut parts = multer::Multipart::new(body, boundary);
    let mut data = Vec::new();
    while let Some(part) = parts.next_field().await.map_err(broken)? {
        let is_datum = part.name() == Some(FIELD);
        let content = part.bytes().await.map_err(broken)?;
        if is_datum {
            data.push(text(content.into())?);
        }
    }
    Ok(data)
}

/// Of a JSON object.
pub(super) fn strings(members: Members<Data, Value>) -> Result<Vec<String>, Error> {
    let string =
        |value| if let Value::String(text) = value { Ok(text) } else { Err(Error::NoString) };
    members.0.into_iter().map(string).collect()
}

fn text(bytes: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(bytes).map_err(|_| Error::BadRequest(NOT_UTF8))
}

/// The member `data` of a JSON object.
pub(super) struct Data;

impl Member for Data {
    const NAME: &'static str = FIELD;
    const EXPECTED: &'static str = "an object";
}
