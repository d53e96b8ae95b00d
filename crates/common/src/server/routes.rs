//! Which paths and methods there are, read from the OpenAPI document.

use std::collections::{BTreeMap, HashMap};

use actix_web::dev::ResourceDef;
use utoipa::openapi::{OpenApi, PathItem};

use crate::docs::PAGE_PARTS;

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

    /// The route as a metric's label: its template, or `unmatched`.
    pub(crate) fn label(&self, id: RouteId) -> &str {
        self.routes.get(id.0).map_or("unmatched", |route| &route.template)
    }

    /// The methods of a path, as the header `Allow` lists them; none if there is no such path.
    pub(crate) fn allow(&self, id: RouteId) -> Option<&str> {
        self.routes.get(id.0).map(|route| route.allow.as_str())
    }
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
