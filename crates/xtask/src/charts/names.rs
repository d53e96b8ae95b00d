//! What resources are called.

use std::collections::BTreeSet;

use serde_json::Value;

use super::helm::{Helm, Render, documents};

/// Names and labels that Kubernetes would refuse, or cut where others derive names from them.
pub(super) fn invalid(documents: &[Value]) -> Vec<String> {
    let mut problems = Vec::new();
    for document in documents {
        let (kind, name) = kind_and_name(document);
        // A CronJob appends eleven characters to make a Job, and a StatefulSet a hash to make the
        // label of a revision; pods and Services are DNS labels themselves.
        let longest = if ["CronJob", "StatefulSet"].contains(&kind) { 52 } else { 63 };
        if !is_dns_label(name) || name.len() > longest {
            problems.push(format!("{kind} {name}: no DNS label of at most {longest} characters"));
        }
        let labels = document["metadata"]["labels"].as_object().into_iter().flatten();
        for (label, value) in labels {
            if value.as_str().is_none_or(|value| value.len() > 63) {
                problems.push(format!("{kind} {name}: the label {label} is no text of 63 or less"));
            }
        }
    }
    problems
}

/// What goes wrong when releases of the same chart share a namespace, or have unusual names.
///
/// # Errors
/// When a render fails.
pub(super) fn collisions(helm: &Helm<'_>, render: &Render) -> anyhow::Result<Vec<String>> {
    // What comes first would be cut away to make these fit.
    let long = "a".repeat(50);
    let releases =
        ["stack", "other", "stack-data-api", "data-api", "4-2.0", &format!("{long}-xx"), &long];
    let mut problems = Vec::new();
    let mut all = BTreeSet::new();
    for release in releases {
        let of_release = Render {
            name: format!("{}, release {release}", render.name),
            chart: render.chart.clone(),
            values: render.values.clone(),
            release: release.to_owned(),
        };
        let documents = documents(&helm.template(&of_release, &[])?)?;
        let problem = |problem| format!("release {release}: {problem}");
        problems.extend(invalid(&documents).into_iter().map(problem));
        for document in &documents {
            let (kind, name) = kind_and_name(document);
            if !all.insert((kind.to_owned(), name.to_owned())) {
                problems
                    .push(format!("release {release}: {kind} {name} is another release's, too"));
            }
        }
    }
    Ok(problems)
}

/// Whether it may be the name of a Service: RFC 1035.
fn is_dns_label(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.bytes().all(inner)
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.ends_with('-')
}

/// What a resource is, for messages.
pub(super) fn kind_and_name(document: &Value) -> (&str, &str) {
    (
        document["kind"].as_str().unwrap_or_default(),
        document["metadata"]["name"].as_str().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_dns_label_of_the_right_length_is_a_name() {
        for (kind, name, problems) in [
            ("Service", "a".repeat(63), 0),
            ("Service", "a".repeat(64), 1),
            ("CronJob", "a".repeat(52), 0),
            ("CronJob", "a".repeat(53), 1),
            ("Service", "backendApi".to_owned(), 1),
            ("Service", "1a".to_owned(), 1),
            ("Service", "a-".to_owned(), 1),
            ("Service", String::new(), 1),
        ] {
            let document = json!({"kind": kind, "metadata": {"name": name}});
            assert_eq!(invalid(&[document]).len(), problems, "{kind} {name}");
        }
    }

    #[test]
    fn a_label_is_a_text_of_at_most_63_characters() {
        for (value, problems) in [(json!("a"), 0), (json!("a".repeat(64)), 1), (json!(1.0), 1)] {
            let metadata = json!({"name": "a", "labels": {"label": value}});
            let document = json!({"kind": "Service", "metadata": metadata});
            assert_eq!(invalid(&[document]).len(), problems, "{value}");
        }
    }
}
