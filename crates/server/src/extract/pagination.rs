//! Which page of a list.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::LINK;
use actix_web::{FromRequest, HttpRequest, HttpResponse, HttpResponseBuilder};
use common::{Problem, problems};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Required, Schema};

use super::query::Query;

/// The most that a page has.
const MAX_LIMIT: u8 = 100;

/// A page of a list whose entries have ever greater ids, the latest first: `?limit=` of them, `DEFAULT` if the
/// client does not say, and those after `?cursor=`. 422 where one of the two is bad.
///
/// ```
/// # use actix_web::{HttpResponse, get};
/// # use server::extract::Pagination;
/// # async fn read(below: i64, rows: i64) -> Vec<i64> { Vec::new() }
/// #[get("/numbers")]
/// async fn get_numbers(page: Pagination<20>) -> HttpResponse {
///     let mut numbers = read(page.below(), page.rows()).await;
///     page.begin(&mut numbers, |number| *number).json(numbers)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Pagination<const DEFAULT: u8> {
    limit: u8,
    below: i64,
}

problems! {
    /// What an endpoint that lists pages may answer.
    pub PaginationProblems { 400: "The query is malformed", 422: "A bad `limit` or `cursor`" }
}

/// What a client sends.
#[derive(Deserialize)]
struct Parameters {
    limit: Option<String>,
    cursor: Option<String>,
}

impl<const DEFAULT: u8> Pagination<DEFAULT> {
    /// The id that all of the page are below.
    #[must_use]
    pub fn below(&self) -> i64 {
        self.below
    }

    /// How many rows to read: one more than the page has says that the list goes on.
    #[must_use]
    pub fn rows(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// Begins the answer with the rows that were read. Where they say that the list goes on, a header tells the
    /// client where (RFC 8288).
    pub fn begin<T>(&self, rows: &mut Vec<T>, id: fn(&T) -> i64) -> HttpResponseBuilder {
        let mut response = HttpResponse::Ok();
        let limit = &self.limit;
        if rows.len() > usize::from(*limit) {
            rows.truncate(usize::from(*limit));
            let cursor = rows.last().map_or(0, id);
            // Of the same path, whatever a proxy has before it.
            let next = format!("<?limit={limit}&cursor={cursor:x}>; rel=\"next\"");
            response.insert_header((LINK, next));
        }
        response
    }

    fn parse(request: &HttpRequest) -> Result<Self, Problem> {
        let Query(Parameters { limit, cursor }) = Query::extract(request).into_inner()?;
        let bad = |detail: &str| Problem::new(StatusCode::UNPROCESSABLE_ENTITY).detail(detail);
        let limit = limit.map_or(Some(DEFAULT), |limit| limit.parse().ok());
        let limit = limit.filter(|limit| (1..=MAX_LIMIT).contains(limit));
        // Many clients send an empty one for the first page.
        let cursor = cursor.filter(|cursor| !cursor.is_empty());
        let below = cursor.map_or(Some(i64::MAX), |cursor| id(&cursor));
        Ok(Self {
            limit: limit.ok_or_else(|| bad("`limit` must be a number from 1 to 100"))?,
            below: below
                .ok_or_else(|| bad("`cursor` must come from the header `Link` of a page"))?,
        })
    }
}

/// The id in a cursor, which is opaque to clients: in hexadecimal, in the one way that a page writes it.
fn id(cursor: &str) -> Option<i64> {
    let id = i64::from_str_radix(cursor, 16).ok().filter(|id| *id > 0)?;
    (format!("{id:x}") == cursor).then_some(id)
}

impl<const DEFAULT: u8> FromRequest for Pagination<DEFAULT> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::parse(request))
    }
}

impl<const DEFAULT: u8> IntoParams for Pagination<DEFAULT> {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let limit = ObjectBuilder::new().schema_type(Type::Integer).default(Some(DEFAULT.into()));
        let limit = limit.minimum(Some(1)).maximum(Some(MAX_LIMIT));
        let cursor = ObjectBuilder::new().schema_type(Type::String);
        let cursor = cursor.pattern(Some("^([1-9a-f][0-9a-f]{0,14})?$"));
        let parameter = |name, description, schema| {
            let schema = RefOr::T(Schema::Object(schema));
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Query)
                .required(Required::False)
                .description(Some(description))
                .schema(Some(schema))
                .build()
        };
        vec![
            parameter("limit", "How many", limit.build()),
            parameter(
                "cursor",
                "Where the page begins, from `Link` of another; empty is the first page",
                cursor.build(),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use proptest::prelude::*;

    use super::*;

    fn parse(query: &str) -> Result<Pagination<20>, Problem> {
        Pagination::parse(&TestRequest::with_uri(&format!("/numbers?{query}")).to_http_request())
    }

    #[test]
    fn a_page_is_as_large_as_asked_for_up_to_a_hundred() {
        for (query, limit) in [("", 20), ("limit=1", 1), ("limit=100", 100)] {
            assert_eq!(parse(query).unwrap().rows(), limit + 1, "{query}");
        }
        for limit in ["0", "101", "256", "-1", "x", "", "1.5", "99999999999999999999"] {
            let problem = parse(&format!("limit={limit}")).unwrap_err();
            assert!(problem.to_string().contains("`limit`"), "{limit}: {problem}");
        }
    }

    #[test]
    fn a_cursor_is_an_id_in_the_one_way_that_a_page_writes_it() {
        for first in ["", "cursor=", "cursor"] {
            assert_eq!(parse(first).unwrap().below(), i64::MAX, "{first}");
        }
        assert_eq!(parse("cursor=1f").unwrap().below(), 31);
        for cursor in ["0", "01", "1F", "-1", "%2B1", "x", "8000000000000000", "1%20OR%201"] {
            let problem = parse(&format!("cursor={cursor}")).unwrap_err();
            assert!(problem.to_string().contains("`cursor`"), "{cursor}: {problem}");
        }
    }

    proptest! {
        #[test]
        fn pages_lead_through_all_ids_once(ids in prop::collection::btree_set(1_i64.., 0..50_usize), limit in 1..20_u8) {
            let mut seen = Vec::new();
            let mut query = format!("limit={limit}");
            loop {
                let page = parse(&query).unwrap();
                let latest = ids.iter().rev().copied().filter(|id| *id < page.below());
                let mut rows: Vec<i64> = latest.take(usize::try_from(page.rows()).unwrap()).collect();
                let answer = page.begin(&mut rows, |id| *id).finish();
                prop_assert!(rows.len() <= usize::from(limit));
                seen.extend(rows);
                let Some(link) = answer.headers().get(LINK) else { break };
                let link = link.to_str().unwrap();
                query = link["<?".len()..].strip_suffix(">; rel=\"next\"").unwrap().to_owned();
            }
            prop_assert!(ids.iter().rev().eq(&seen));
        }
    }
}
