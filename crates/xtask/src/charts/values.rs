//! A `values.yaml`: its keys in their order, each with the comment above it.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

/// A file of values.
#[derive(Clone, Debug)]
pub(super) struct Values {
    pub(super) keys: Vec<Key>,
}

/// A key that is not inside of a list.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Key {
    pub(super) path: Vec<String>,
    /// Empty if there is none.
    pub(super) comment: String,
    pub(super) default: Value,
}

impl Values {
    /// # Errors
    /// When the file cannot be read, or has keys that cannot be found in their lines.
    pub(super) fn load(path: &Path) -> anyhow::Result<Self> {
        let context = || path.display().to_string();
        Self::parse(&fs::read_to_string(path).with_context(context)?).with_context(context)
    }

    fn parse(source: &str) -> anyhow::Result<Self> {
        let values: Value = serde_norway::from_str(source)?;
        let mut keys = Vec::new();
        let mut parents: Vec<(usize, &str)> = Vec::new();
        let mut comment = Vec::new();
        // What is indented by more than this belongs to a list or a text.
        let mut inside = usize::MAX;
        for line in source.lines() {
            let text = line.trim_start();
            let indent = line.len() - text.len();
            if text.is_empty() {
                comment.clear();
            } else if let Some(said) = text.strip_prefix('#') {
                comment.push(said.trim());
            } else if indent > inside || text.starts_with("- ") {
                inside = inside.min(indent);
                comment.clear();
            } else if let Some((key, value)) = text.split_once(':') {
                inside = if value.trim().starts_with(['|', '>']) { indent } else { usize::MAX };
                while parents.last().is_some_and(|(outer, _)| *outer >= indent) {
                    parents.pop();
                }
                parents.push((indent, key));
                let path: Vec<_> = parents.iter().map(|(_, key)| (*key).to_owned()).collect();
                let default = path.iter().try_fold(&values, |value, key| value.get(key));
                let default = default.with_context(|| format!("cannot find {}", path.join(".")))?;
                keys.push(Key { comment: comment.join(" "), default: default.clone(), path });
                comment.clear();
            }
        }
        Ok(Self { keys })
    }

    /// Those below a path, as if they were a file of their own.
    pub(super) fn below(&self, parent: &[&str]) -> Self {
        let below = self.keys.iter().filter(|key| {
            key.path.len() > parent.len() && key.path.iter().zip(parent).all(|(a, b)| a == b)
        });
        let path = |key: &Key| key.path[parent.len()..].to_vec();
        Self { keys: below.map(|key| Key { path: path(key), ..key.clone() }).collect() }
    }

    /// The key of that path.
    pub(super) fn get(&self, path: &[String]) -> Option<&Key> {
        self.keys.iter().find(|key| key.path == path)
    }

    /// The comment of that path, if it has one.
    pub(super) fn comment(&self, path: &[String]) -> Option<&str> {
        let comment = self.get(path).map(|key| &*key.comment);
        comment.filter(|comment| !comment.is_empty())
    }
}

/// Rows of a table in Markdown.
pub(super) fn table(keys: &[Key]) -> String {
    let rows = keys.iter().map(|key| {
        let default = match &key.default {
            Value::Null => String::new(),
            value => format!("`{value}`").replace('|', "\\|"),
        };
        let comment = key.comment.replace('|', "\\|");
        format!("| `{}` | {default} | {comment} |\n", key.path.join("."))
    });
    "| key | default | meaning |\n|---|---|---|\n".to_owned() + &rows.collect::<String>()
}

const BEGIN: &str = "<!-- The rest is made by `make charts-generate` from values.yaml. -->\n";

/// A README with what stands below the mark replaced.
///
/// # Errors
/// When there is no mark.
pub(super) fn with_tables(readme: &str, tables: &str) -> anyhow::Result<String> {
    let (own, _) = readme.split_once(BEGIN).with_context(|| format!("lacks the line {BEGIN}"))?;
    Ok(format!("{own}{BEGIN}\n{tables}"))
}

/// What a README is before anybody has written one.
pub(super) fn new_readme(name: &str, description: &str) -> String {
    format!("# {name}\n\n{description}.\n\n{BEGIN}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SOURCE: &str = "\
# Of the file.

# How many.
count: 1
image:
  # Two
  # lines.
  name: a
list:
  # Of an item.
  - name: b
    other: c
# A text.
text: |
  no: key
empty: {}
";

    #[test]
    fn keys_have_their_path_comment_and_default() {
        let values = Values::parse(SOURCE).unwrap();

        let keys: Vec<_> =
            values.keys.iter().map(|key| (key.path.join("."), &*key.comment)).collect();
        assert_eq!(
            keys,
            [
                ("count".to_owned(), "How many."),
                ("image".to_owned(), ""),
                ("image.name".to_owned(), "Two lines."),
                ("list".to_owned(), ""),
                ("text".to_owned(), "A text."),
                ("empty".to_owned(), ""),
            ]
        );
        assert_eq!(values.keys[3].default, json!([{"name": "b", "other": "c"}]));
        assert_eq!(values.below(&["image"]).keys[0].path, ["name"]);
    }

    #[test]
    fn only_what_stands_below_the_mark_is_replaced() {
        let readme = format!("# A chart\n\n{BEGIN}\nold\n");

        assert_eq!(with_tables(&readme, "new\n").unwrap(), format!("# A chart\n\n{BEGIN}\nnew\n"));
        assert!(with_tables("# A chart\n", "new\n").is_err());
    }
}
