//! The query string.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpRequest, web};
use serde::de::DeserializeOwned;

use common::Problem;

/// A query string of type `T`; 400 where it does not fit, has a broken percent escape, or is no UTF-8.
#[derive(Clone, Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> Query<T> {
    fn parse(query: &str) -> Result<Self, Problem> {
        let bad = |detail: &str| Problem::new(StatusCode::BAD_REQUEST).detail(detail);
        // The parser below would take a broken escape as it stands and replace what is no UTF-8.
        if query.contains('%') {
            let decoded = percent_decode(query.bytes())
                .ok_or_else(|| bad("the query has a broken percent escape"))?;
            std::str::from_utf8(&decoded).map_err(|_| bad("the query is not valid UTF-8"))?;
        }
        web::Query::<T>::from_query(query).map(|query| Self(query.into_inner())).map_err(|error| {
            let actix_web::error::QueryPayloadError::Deserialize(error) = error else {
                return bad("the query is not valid");
            };
            bad(&error.to_string())
        })
    }
}

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::parse(request.query_string()))
    }
}

/// The bytes behind percent escapes; none where an escape is broken.
#[must_use]
pub fn percent_decode(mut bytes: impl Iterator<Item = u8>) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(bytes.size_hint().0);
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            decoded.push(u8::try_from(high << 4 | low).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Parameters {
        param: String,
        limit: Option<u32>,
    }

    fn parse(query: &str) -> Result<Parameters, String> {
        Query::parse(query)
            .map(|Query(parameters)| parameters)
            .map_err(|problem| problem.to_string())
    }

    proptest! {
        #[test]
        fn whatever_was_encoded_is_decoded(text in "\\PC*") {
            let query = format!("param={}", percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC));

            prop_assert_eq!(parse(&query).map(|parameters| parameters.param), Ok(text));
        }

        #[test]
        fn no_query_makes_it_panic(query in "[a-z%&=+;0-9A-F\\PC]*") {
            let _ = parse(&query);
        }
    }

    #[test]
    fn a_plus_is_a_space_and_numbers_are_read() {
        assert_eq!(
            parse("limit=7&param=a+b%2Bc"),
            Ok(Parameters { param: "a b+c".into(), limit: Some(7) })
        );
    }

    #[test]
    fn bad_queries_say_what_is_wrong() {
        for (query, reason) in [
            ("param=%", "broken percent escape"),
            ("param=%4", "broken percent escape"),
            ("param=%zz", "broken percent escape"),
            ("param=%+1", "broken percent escape"),
            ("x=%&param=ab", "broken percent escape"),
            ("param=%ff", "not valid UTF-8"),
            ("param=%c3", "not valid UTF-8"),
            ("", "missing field `param`"),
            ("param=a&param=b", "duplicate field `param`"),
            ("param=a&limit=x", "invalid digit"),
        ] {
            let error = parse(query).unwrap_err();
            assert!(error.contains(reason), "{query}: {error}");
        }
    }
}
