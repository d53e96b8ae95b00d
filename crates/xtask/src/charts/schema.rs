//! A chart's `values.schema.json` and the tables in its README, from what the charts share and what
//! is its own.

use std::path::Path;

use anyhow::{Context as _, ensure};
use serde_json::{Map, Value, json};

use super::helm::{Chart, yaml};
use super::values::{Key, Values, table};

/// The group of what is not said of a single component.
const OF_CHART: &str = "chart";

/// The library chart's part.
#[derive(Debug)]
pub(super) struct Library {
    schema: Value,
    values: Values,
}

/// A chart's part.
#[derive(Debug)]
pub(super) struct Part {
    name: String,
    schema: Value,
    values: Values,
    /// The library's values that it imports.
    imported: Values,
    groups: Vec<String>,
}

impl Library {
    /// # Errors
    /// When a file cannot be read.
    pub(super) fn load(root: &Path) -> anyhow::Result<Self> {
        let folder = root.join("charts/library");
        Ok(Self {
            schema: yaml(&folder.join("schema.yaml"))?,
            values: Values::load(&folder.join("values.yaml"))?,
        })
    }

    /// # Errors
    /// When a file of the chart cannot be read.
    pub(super) fn part(&self, chart: &Chart) -> anyhow::Result<Part> {
        let groups = chart.groups.iter();
        let own = chart.folder.join("schema.yaml");
        let imported = groups.flat_map(|group| self.values.below(&["exports", group]).keys);
        Ok(Part {
            name: chart.name.clone(),
            // Not every chart has values that the library does not know.
            schema: if own.exists() { yaml(&own)? } else { Value::Null },
            values: Values::load(&chart.own_values())?,
            imported: Values { keys: imported.collect() },
            groups: chart.groups.clone(),
        })
    }

    /// The schema of a chart, strict: it knows every key, and refuses others.
    ///
    /// # Errors
    /// When it refers to a definition that is not there.
    pub(super) fn schema(&self, part: &Part) -> anyhow::Result<String> {
        let (of_chart, of_component): (Vec<_>, Vec<_>) =
            part.groups.iter().partition(|group| *group == OF_CHART);
        let shared = |groups: Vec<&String>| {
            let groups = groups.into_iter();
            groups.flat_map(|group| members(&self.schema[group])).collect::<Map<_, _>>()
        };
        let of_component = shared(of_component);
        let mut properties: Map<_, _> = members(&self.schema["all"]).collect();
        properties.extend(shared(of_chart));
        properties.extend(of_component.clone());
        properties.extend(members(&part.schema["properties"]));
        for (key, more) in members(&part.schema["overlays"]) {
            let mut below = of_component.clone();
            below.extend(members(&more));
            let overlay =
                json!({"type": "object", "additionalProperties": false, "properties": below});
            properties.insert(key, overlay);
        }
        let mut definitions: Map<_, _> = members(&self.schema["definitions"]).collect();
        definitions.extend(members(&part.schema["definitions"]));
        let mut schema = json!({
            "$schema": "http://json-schema.org/draft-07/schema#",
            "title": format!("Values of the chart {}", part.name),
            "type": "object",
            "additionalProperties": false,
            "properties": properties,
        });
        for key in part.own_rows().iter().chain(&part.shared_rows()) {
            describe(&mut schema, key);
        }
        let mut used = Map::new();
        use_definitions(&schema, &definitions, &mut used)?;
        schema["definitions"] = Value::Object(used);
        Ok(serde_json::to_string_pretty(&schema)? + "\n")
    }
}

impl Part {
    /// The tables of the chart's own values and of those it shares.
    ///
    /// # Errors
    /// When a value has no comment, here, above it, or in the library.
    pub(super) fn tables(&self) -> anyhow::Result<String> {
        for (of, values) in [(&*self.name, &self.values), ("library", &self.imported)] {
            for key in &values.keys {
                let leaf = key.default.as_object().is_none_or(Map::is_empty);
                let path = key.path.join(".");
                ensure!(!leaf || self.is_explained(&key.path), "{of}: {path} has no comment");
            }
        }
        let own = Some(self.own_rows()).filter(|rows| !rows.is_empty());
        let shared = Some(self.shared_rows()).filter(|rows| !rows.is_empty());
        let own = own.map(|rows| format!("## Its own values\n\n{}", table(&rows)));
        let shared = shared.map(|rows| format!("## Values that all share\n\n{}", table(&rows)));
        Ok(own.into_iter().chain(shared).collect::<Vec<_>>().join("\n"))
    }

    fn own_rows(&self) -> Vec<Key> {
        let keys = self.values.keys.iter();
        let rows = keys.filter_map(|key| {
            let comment = self.comment(&key.path)?.to_owned();
            Some(Key { comment, ..key.clone() })
        });
        without_covered(rows.collect())
    }

    /// With the defaults that this chart has for them.
    fn shared_rows(&self) -> Vec<Key> {
        let keys = self.imported.keys.iter().filter(|key| !key.comment.is_empty());
        let rows = keys.map(|key| {
            let default = self.values.get(&key.path).unwrap_or(key).default.clone();
            Key { default, ..key.clone() }
        });
        without_covered(rows.collect())
    }

    /// What this chart says about a key, or the library about the same key of a component.
    fn comment(&self, path: &[String]) -> Option<&str> {
        let overlay = path.first().filter(|key| self.schema["overlays"].get(key).is_some());
        let shared = overlay.and_then(|_| self.imported.comment(&path[1..]));
        self.values.comment(path).or(shared)
    }

    fn is_explained(&self, path: &[String]) -> bool {
        (1..=path.len())
            .map(|length| &path[..length])
            .any(|path| self.comment(path).is_some() || self.imported.comment(path).is_some())
    }
}

/// A row whose key has others below it that have rows shows no default: they show theirs. Else its
/// default is shown as a whole.
fn without_covered(rows: Vec<Key>) -> Vec<Key> {
    let paths: Vec<_> = rows.iter().map(|row| row.path.clone()).collect();
    let is_parent =
        |of: &[String]| paths.iter().any(|path| path.len() > of.len() && path.starts_with(of));
    let rows = rows.into_iter().map(|mut row| {
        if is_parent(&row.path) {
            row.default = Value::Null;
        }
        row
    });
    rows.collect()
}

/// Puts a comment where the schema speaks of the key itself.
fn describe(schema: &mut Value, key: &Key) {
    let mut node = schema;
    for step in &key.path {
        let Some(below) = node.get_mut("properties").and_then(|all| all.get_mut(step)) else {
            return;
        };
        node = below;
    }
    node["description"] = json!(key.comment);
}

/// Adds the definitions that are referred to, and those that these refer to.
fn use_definitions(
    from: &Value,
    all: &Map<String, Value>,
    used: &mut Map<String, Value>,
) -> anyhow::Result<()> {
    if let Some(reference) = from.get("$ref").and_then(Value::as_str) {
        let name = reference.trim_start_matches("#/definitions/");
        let definition = all.get(name).with_context(|| format!("there is no {reference}"))?;
        if used.insert(name.to_owned(), definition.clone()).is_none() {
            use_definitions(definition, all, used)?;
        }
    }
    let below: Vec<_> = match from {
        Value::Object(members) => members.values().collect(),
        Value::Array(items) => items.iter().collect(),
        _ => Vec::new(),
    };
    below.into_iter().try_for_each(|value| use_definitions(value, all, used))
}

fn members(object: &Value) -> impl Iterator<Item = (String, Value)> {
    object.as_object().cloned().unwrap_or_default().into_iter()
}
