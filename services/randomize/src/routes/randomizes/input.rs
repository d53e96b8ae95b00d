//! What a client may send.

use actix_web::{HttpMessage as _, HttpRequest};
use common::Problem;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use server::extract::{Body, Json};
use utoipa::ToSchema;

use crate::error::Error;
use crate::jumble::{Word, WordError};
use crate::store::Audited;

/// A word to jumble.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes the body, which is checked member by member")]
pub(in crate::routes) struct NewRandomize {
    /// 1 to 255 code points, without NUL.
    #[schema(example = "string", min_length = 1, max_length = 255, pattern = "^[^\\u0000]+$")]
    word: String,
}

/// A word, and the request that brought it as the audit trail keeps it.
#[derive(Debug)]
pub(super) struct NewWord {
    pub(super) word: Word,
    pub(super) request: Audited,
}

server::from_head!(NewWord, NewWord::parse);

impl NewWord {
    fn parse(request: &HttpRequest) -> Result<Self, Problem> {
        Json::<Value>::accepts(request)?;
        let mut extensions = request.extensions_mut();
        // The audit trail has read it.
        let body = extensions.remove::<Body>().map(|Body(body)| body).unwrap_or_default();
        let Json(body) = Json::parse(&body)?;
        let word = parse(body)?;
        // From here on the row is the handler's to keep, with the word.
        let request = extensions.remove::<Audited>();
        let request = request.ok_or_else(|| Problem::internal("the request is not audited"))?;
        Ok(Self { word, request })
    }
}

/// The word of a body; what is wrong is said in the original's words.
fn parse(body: Value) -> Result<Word, Error> {
    let Value::Object(mut members) = body else {
        return Err(invalid("_schema", "Invalid input type."));
    };
    let word = members.remove("word");
    let mut errors: Map<String, Value> =
        members.into_iter().map(|(name, _)| (name, json!(["Unknown field."]))).collect();
    let word = match word.map(parse_word) {
        Some(Ok(word)) if errors.is_empty() => return Ok(word),
        Some(Err(Some(reason))) => Some(reason),
        Some(Err(None)) | None if errors.is_empty() => return Err(Error::MissingWord),
        _ => None,
    };
    errors.extend(word.map(|reason| ("word".to_owned(), json!([reason]))));
    Err(Error::Invalid(errors))
}

/// A word, or what is wrong with it; nothing where it is empty.
fn parse_word(word: Value) -> Result<Word, Option<&'static str>> {
    match word {
        Value::String(text) => Word::try_from(text).map_err(|error| match error {
            WordError::Empty => None,
            WordError::TooLong => Some("Longer than maximum length 255."),
            WordError::HoldsNul => Some("Null characters are not allowed."),
        }),
        Value::Null => Err(Some("Field may not be null.")),
        _ => Err(Some("Not a valid string.")),
    }
}

fn invalid(member: &str, reason: &str) -> Error {
    Error::Invalid(Map::from_iter([(member.to_owned(), json!([reason]))]))
}
