//! Which documented operations were called.

use std::collections::BTreeSet;

use serde_json::Value;

/// What a path of an OpenAPI document can hold beside the operations.
const NO_OPERATIONS: [&str; 4] = ["summary", "description", "servers", "parameters"];

/// The operations of an OpenAPI document, as `GET /logs/{name}`, that no call covers. A call counts
/// for the path with the fewest parameters among those it fits, as in a service's own routing.
pub(crate) fn uncovered<'a>(
    document: &Value,
    called: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Vec<String> {
    let operations = operations(document);
    let operation = |(method, path): (&str, &str)| {
        let path = path.split('?').next().unwrap_or_default();
        operations
            .iter()
            .filter(|(of, template)| of == method && fits(template, path))
            .min_by_key(|(_, template)| template.matches('{').count())
    };
    let covered: BTreeSet<_> = called.into_iter().filter_map(operation).collect();
    let left = operations.iter().filter(|operation| !covered.contains(operation));
    left.map(|(method, path)| format!("{method} {path}")).collect()
}

fn operations(document: &Value) -> BTreeSet<(String, &str)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let operations = paths.flat_map(|(path, item)| {
        let methods = item.as_object().into_iter().flat_map(serde_json::Map::keys);
        let methods = methods.filter(|key| !NO_OPERATIONS.contains(&key.as_str()));
        methods.map(move |method| (method.to_uppercase(), path.as_str()))
    });
    operations.collect()
}

/// Whether a path is one of a template's, as `/logs/a.txt` is of `/logs/{name}`.
fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) =
        (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template.iter().zip(path).all(|(part, found)| part.starts_with('{') || *part == found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::uncovered;

    #[test]
    fn each_method_of_each_path_counts_for_itself() {
        let document = json!({"paths": {"/query": {"get": {}, "post": {}, "summary": ""}}});
        assert_eq!(uncovered(&document, [("GET", "/query?param=aa")]), ["POST /query"]);
        assert_eq!(uncovered(&document, [("GET", "/"), ("POST", "/query")]), ["GET /query"]);
        assert!(uncovered(&document, [("GET", "/query"), ("POST", "/query")]).is_empty());
    }

    #[test]
    fn a_call_of_a_literal_path_covers_no_template() {
        let document = json!({"paths": {"/logs/{name}": {"get": {}}, "/logs/all": {"get": {}}}});
        assert_eq!(uncovered(&document, [("GET", "/logs/all")]), ["GET /logs/{name}"]);
        assert_eq!(uncovered(&document, [("GET", "/logs/1.txt")]), ["GET /logs/all"]);
        assert_eq!(uncovered(&document, [("GET", "/logs/1/2")]).len(), 2);
    }
}
