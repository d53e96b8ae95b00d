//! Which paths and methods there are, read from the OpenAPI document, and the answers to others.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use actix_web::dev::ResourceDef;
use actix_web::http::header::{ALLOW, HeaderValue, LOCATION, VARY};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use common::Problem;
use utoipa::openapi::{OpenApi, PathItem};

use crate::references::{prefers_html, reference};

/// Where the parts of the page `/docs` are; they are nobody's interface, and no part of the document.
pub(crate) const PAGE_PARTS: &str = "/docs/{file}";

/// The label of a path of no route.
pub(crate) const UNMATCHED: &str = "unmatched";

/// A route's place in its table, or [`RouteId::UNMATCHED`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RouteId(usize);

impl RouteId {
    /// The path of no route.
    pub(crate) const UNMATCHED: Self = Self(usize::MAX);
}

/// The routes of a service.
#[derive(Debug)]
pub(crate) struct RouteTable {
    routes: Vec<Route>,
    /// Paths without parameters, which most are.
    exact: HashMap<String, RouteId>,
    patterns: Vec<(ResourceDef, RouteId)>,
}

#[derive(Debug)]
struct Route {
    template: String,
    allow: String,
}

impl RouteTable {
    pub(crate) fn new(document: &OpenApi) -> Self {
        let mut methods: BTreeMap<&str, Vec<&str>> = document
            .paths
            .paths
            .iter()
            .map(|(template, item)| (template.as_str(), methods_of(item)))
            .collect();
        if methods.contains_key("/docs") {
            methods.insert(PAGE_PARTS, vec!["GET", "HEAD"]);
        }

        let mut table = Self { routes: Vec::new(), exact: HashMap::new(), patterns: Vec::new() };
        for (template, mut allowed) in methods {
            let id = RouteId(table.routes.len());
            if template.contains('{') {
                table.patterns.push((ResourceDef::new(template), id));
            } else {
                table.exact.insert(template.to_owned(), id);
            }
            allowed.push("OPTIONS");
            let (template, allow) = (template.to_owned(), allowed.join(", "));
            table.routes.push(Route { template, allow });
        }
        table
    }

    /// The route of a path.
    pub(crate) fn find(&self, path: &str) -> RouteId {
        let pattern = || self.patterns.iter().find(|(pattern, _)| pattern.is_match(path));
        self.exact
            .get(path)
            .copied()
            .or_else(|| pattern().map(|(_, id)| *id))
            .unwrap_or(RouteId::UNMATCHED)
    }

    /// The route as a metric's label: its template, or [`UNMATCHED`].
    pub(crate) fn label(&self, id: RouteId) -> &str {
        self.routes.get(id.0).map_or(UNMATCHED, |route| &route.template)
    }

    /// The methods that any path has.
    fn all_methods(&self) -> String {
        let of_paths = self.routes.iter().flat_map(|route| route.allow.split(", "));
        of_paths.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
    }

    /// The methods of a path, as the header `Allow` lists them; none if there is no such path.
    pub(crate) fn allow(&self, id: RouteId) -> Option<&str> {
        self.routes.get(id.0).map(|route| route.allow.as_str())
    }
}

/// What no handler takes: another method of a known path, or an unknown path.
pub(crate) async fn answer_unmatched(
    request: HttpRequest,
    routes: web::Data<RouteTable>,
) -> Result<HttpResponse, Problem> {
    let path = request.match_info().as_str();
    if request.method() == Method::OPTIONS && path == "*" {
        // Of the server as a whole (RFC 9110, 9.3.7).
        return Ok(HttpResponse::NoContent().insert_header((ALLOW, routes.all_methods())).finish());
    }
    let Some(allow) = routes.allow(routes.find(path)) else {
        return match path {
            "/" => welcome(&request, &routes),
            _ => Err(no_such_route()),
        };
    };
    if request.method() == Method::OPTIONS {
        return Ok(HttpResponse::NoContent().insert_header((ALLOW, allow)).finish());
    }
    let detail = format!("the path takes {allow}");
    let allow = allow.parse().map_err(Problem::internal)?;
    Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED).detail(detail).header(ALLOW, allow))
}

/// Where a service has nothing of its own at `/`, people are shown its documentation.
fn welcome(request: &HttpRequest, routes: &RouteTable) -> Result<HttpResponse, Problem> {
    if request.method() == Method::GET
        && routes.find("/docs") != RouteId::UNMATCHED
        && prefers_html(request)
    {
        let location = reference("/docs");
        let mut response = HttpResponse::SeeOther();
        return Ok(response
            .insert_header((LOCATION, location))
            .insert_header((VARY, "Accept"))
            .finish());
    }
    Err(no_such_route().header(VARY, HeaderValue::from_static("Accept")))
}

/// The answer to a path of no route.
#[must_use]
pub fn no_such_route() -> Problem {
    Problem::new(StatusCode::NOT_FOUND).detail("there is nothing at this path")
}

/// The methods of a path; `HEAD` goes with `GET`.
fn methods_of(item: &PathItem) -> Vec<&'static str> {
    [
        ("GET", &item.get),
        ("HEAD", &item.get),
        ("POST", &item.post),
        ("PUT", &item.put),
        ("PATCH", &item.patch),
        ("DELETE", &item.delete),
    ]
    .into_iter()
    .filter(|(_, operation)| operation.is_some())
    .map(|(method, _)| method)
    .collect()
}
