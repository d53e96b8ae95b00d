//! A key of a `values.yaml` that no template reads promises something that is not there.

use std::path::Path;

use serde_json::{Value, json};

use super::helm::{Chart, Helm, Render, parallel, same, yaml};

/// What a value is changed to need not be valid.
const SCHEMALESS: &[&str] = &["--skip-schema-validation"];

/// The chart that stands for all services where the library's values are concerned.
const ANY_SERVICE: &str = "sre-kata";

/// The keys whose change changes nothing in any render of their chart.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn unread(
    root: &Path,
    helm: &Helm<'_>,
    charts: &[Chart],
    renders: &[Render],
) -> anyhow::Result<Vec<String>> {
    let baselines = parallel(renders, |render| helm.template(render, SCHEMALESS));
    let baselines = baselines.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let mut keys = Vec::new();
    for chart in charts {
        let mut values = vec![yaml(&chart.own_values())?];
        if chart.name == ANY_SERVICE {
            let library = yaml(&root.join("charts/library/values.yaml"))?;
            let groups = library["exports"].as_object().into_iter().flatten();
            values.extend(groups.map(|(_, group)| group.clone()));
        }
        let renders = renders.iter().zip(&baselines);
        let mut renders: Vec<_> =
            renders.filter(|(render, _)| render.chart == chart.folder).collect();
        // Where most is switched on, most is read.
        renders.sort_by_key(|(render, _)| !render.name.ends_with("full"));
        for (path, changed) in values.iter().flat_map(|values| leaves("", values)) {
            keys.push((chart, path, changed, renders.clone()));
        }
    }
    let read = parallel(&keys, |(_, path, changed, renders)| {
        let change = format!("{path}={changed}");
        renders.iter().any(|(render, baseline)| {
            let changed = helm.template(render, &[SCHEMALESS, &["--set-json", &change]].concat());
            // What a template chokes on, it has read.
            changed.map_or(true, |changed| !same(baseline, &changed))
        })
    });
    let unread = keys.iter().zip(read).filter(|(_, read)| !read);
    let problem =
        |(chart, path): (&Chart, &String)| format!("{}: nothing reads {path}", chart.name);
    Ok(unread.map(|((chart, path, ..), _)| problem((chart, path))).collect())
}

/// Each value that is not a filled map, by its path, and another value for it.
fn leaves(path: &str, value: &Value) -> Vec<(String, Value)> {
    let changed = match value {
        Value::Object(members) if !members.is_empty() => {
            let below = members.iter().flat_map(|(key, value)| {
                let dot = if path.is_empty() { "" } else { "." };
                leaves(&format!("{path}{dot}{key}"), value)
            });
            return below.collect();
        }
        Value::Object(_) => json!({"changed": "changed"}),
        Value::Array(items) if items.is_empty() => json!([{"name": "changed"}]),
        Value::Array(_) => json!([]),
        Value::Bool(value) => json!(!value),
        Value::Number(number) => json!(number.as_i64().unwrap_or_default() + 7),
        Value::String(text) => json!(format!("{text}changed")),
        Value::Null => json!("changed"),
    };
    vec![(path.to_owned(), changed)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_leaf_gets_another_value_of_its_kind() {
        let values = json!({"a": {"b": 1, "c": {}}, "d": [], "e": [1], "f": true, "g": "x"});

        let leaves: Vec<_> = leaves("", &values);

        let changed = |path: &str| leaves.iter().find(|leaf| leaf.0 == path).map(|leaf| &leaf.1);
        assert_eq!(leaves.len(), 6);
        assert_eq!(changed("a.b"), Some(&json!(8)));
        assert_eq!(changed("a.c"), Some(&json!({"changed": "changed"})));
        assert_eq!(changed("d"), Some(&json!([{"name": "changed"}])));
        assert_eq!(changed("e"), Some(&json!([])));
        assert_eq!(changed("f"), Some(&json!(false)));
        assert_eq!(changed("g"), Some(&json!("xchanged")));
    }
}
