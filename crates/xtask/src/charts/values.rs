//! A file of values: its keys in their order, each with the comment above it; and the `values.yaml`
//! that is made of two such files.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
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
    /// The number of its line in the file, from 0.
    pub(super) line: usize,
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
        for (number, line) in source.lines().enumerate() {
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
                let comment_above = comment.join(" ");
                keys.push(Key {
                    comment: comment_above,
                    default: default.clone(),
                    path,
                    line: number,
                });
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

    /// The keys inside of a key.
    fn below_key<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = &'a Key> {
        let depth = key.path.len();
        self.keys
            .iter()
            .filter(move |other| other.path.len() > depth && other.path.starts_with(&key.path))
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

/// A whole `values.yaml`: the chart's own values, then those of the library's groups, with the
/// chart's defaults where it has others.
///
/// # Errors
/// When the library lacks a group, or the chart has another default for what is no single value.
pub(super) fn complete(own: &str, library: &str, groups: &[String]) -> anyhow::Result<String> {
    let shared = groups.iter().map(|group| group_of(library, group));
    let shared = shared.collect::<anyhow::Result<Vec<_>>>()?.join("\n\n");
    let shared_keys: Vec<_> = blocks(&shared).into_iter().map(|(key, _)| key).collect();
    let mut lines: Vec<_> = shared.lines().map(str::to_owned).collect();
    let (overrides, own_blocks): (Vec<_>, Vec<_>) =
        blocks(own).into_iter().partition(|(key, _)| shared_keys.contains(key));
    let known = Values::parse(&shared)?;
    for (_, block) in &overrides {
        let block_lines: Vec<_> = block.lines().collect();
        let block = Values::parse(block)?;
        // A map in one line has no keys of its own here, and is no single value.
        for key in block.keys.iter().filter(|key| block.below_key(key).next().is_none()) {
            let path = key.path.join(".");
            let shared = known.get(&key.path).filter(|shared| is_single(&shared.default));
            let shared = shared.filter(|_| is_single(&key.default));
            let shared = shared.with_context(|| format!("{path}: is no single value of all"))?;
            let line = &mut lines[shared.line];
            let (_, value) = block_lines[key.line].split_once(':').unwrap_or_default();
            let (name, _) = line.split_once(':').unwrap_or_default();
            *line = format!("{name}:{value}");
        }
    }
    let own: Vec<_> = own_blocks.into_iter().map(|(_, block)| block).collect();
    let parts = [HEADER.to_owned()].into_iter().chain(own);
    let parts = parts.chain([SHARED.to_owned(), lines.join("\n")]);
    Ok(parts.collect::<Vec<_>>().join("\n\n") + "\n")
}

const HEADER: &str = "\
# Made by `make charts-generate`. What is this chart's own stands in own-values.yaml, what all share
# in charts/library/values.yaml: change it there.";

const SHARED: &str = "# Values that all share.";

fn is_single(value: &Value) -> bool {
    !value.is_object() && !value.is_array()
}

/// The lines of one of the library's groups, as if they were a file of their own.
fn group_of(library: &str, group: &str) -> anyhow::Result<String> {
    let head = format!("  {group}:");
    let below = library.lines().skip_while(|line| *line != head).skip(1);
    let below = below.take_while(|line| line.is_empty() || line.starts_with("    "));
    let lines: Vec<_> = below.map(|line| line.get(4..).unwrap_or_default()).collect();
    ensure!(!lines.is_empty(), "the library has no group {group}");
    Ok(lines.join("\n").trim_end().to_owned())
}

/// The keys at the top of a file, each with its lines and the comment above it.
fn blocks(source: &str) -> Vec<(String, String)> {
    let mut blocks: Vec<(String, Vec<&str>)> = Vec::new();
    let mut comment = Vec::new();
    for line in source.lines() {
        if line.is_empty() {
            // A comment by itself is about the file.
            comment.clear();
        } else if line.starts_with('#') {
            comment.push(line);
        } else if line.starts_with(' ') {
            if let Some((_, lines)) = blocks.last_mut() {
                lines.push(line);
            }
        } else {
            let (key, _) = line.split_once(':').unwrap_or((line, ""));
            let lines = comment.drain(..).chain([line]).collect();
            blocks.push((key.to_owned(), lines));
        }
    }
    blocks.into_iter().map(|(key, lines)| (key, lines.join("\n"))).collect()
}

/// Whether some values say all that others say.
pub(super) fn includes(values: &Value, others: &Value) -> bool {
    match (values, others) {
        (Value::Object(values), Value::Object(others)) => others
            .iter()
            .all(|(key, other)| values.get(key).is_some_and(|value| includes(value, other))),
        (value, other) => value == other,
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
    fn a_whole_file_has_what_is_own_then_what_is_shared_with_own_defaults() {
        let library = "\
exports:
  # Of pods.
  pod:
    image:
      # Its name.
      name: \"\"
      # Its tag.
      tag: \"\"

    # Labels.
    labels: {}
  # Of services.
  service:
    # How many.
    count: 1
";
        let own = "\
# Of the file.

# A word.
word: hello
list:
  # Two.
  - a: 1
image:
  name: b # so
";

        let complete = |own| complete(own, library, &["pod".to_owned(), "service".to_owned()]);

        let expected = format!(
            "{HEADER}\n\n# A word.\nword: hello\n\nlist:\n  # Two.\n  - a: 1\n\n{SHARED}\n\n\
             image:\n  # Its name.\n  name: b # so\n  # Its tag.\n  tag: \"\"\n\n\
             # Labels.\nlabels: {{}}\n\n# How many.\ncount: 1\n"
        );
        assert_eq!(complete(own).unwrap(), expected);
        assert!(complete("labels: {a: b}\n").is_err());
        assert!(complete("image:\n  nmae: b\n").is_err());
    }

    #[test]
    fn values_include_others_that_say_less() {
        let values = json!({"a": {"b": 1, "c": [1]}, "d": true});

        assert!(includes(&values, &json!({"a": {"c": [1]}})));
        assert!(!includes(&values, &json!({"a": {"c": []}})));
        assert!(!includes(&values, &json!({"a": {"e": 1}})));
    }

    #[test]
    fn only_what_stands_below_the_mark_is_replaced() {
        let readme = format!("# A chart\n\n{BEGIN}\nold\n");

        assert_eq!(with_tables(&readme, "new\n").unwrap(), format!("# A chart\n\n{BEGIN}\nnew\n"));
        assert!(with_tables("# A chart\n", "new\n").is_err());
    }
}
