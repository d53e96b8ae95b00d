//! That each metric that is exported is documented, and each that is documented is exported.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Documented, but not exported by a stack as `make dev` starts it.
const ELSEWHERE: [(&str, &str); 3] = [
    ("fault_injection_enabled", "only with FAULT_INJECTION"),
    ("fault_rules", "only with FAULT_INJECTION"),
    ("faults_injected_total", "only with FAULT_INJECTION"),
];

/// What is exported and documented nowhere, and the reverse.
pub(super) fn compare(root: &Path, exported: &BTreeSet<String>) -> anyhow::Result<Vec<String>> {
    let mut documented = BTreeSet::new();
    let mut texts = vec![root.join("docs/metrics.md")];
    for member in fs::read_dir(root.join("services"))? {
        texts.push(member?.path().join("README.md"));
    }
    for text in texts {
        documented.extend(names(&fs::read_to_string(text)?));
    }
    let exported: BTreeSet<_> = exported.iter().map(|name| family(name).to_owned()).collect();
    let undocumented = exported.difference(&documented).map(|name| {
        format!("{name}: is exported, and neither in docs/metrics.md nor in a service's README")
    });
    let elsewhere = |name: &str| ELSEWHERE.iter().any(|(metric, _)| family(metric) == name);
    let missing = documented
        .difference(&exported)
        .filter(|name| !elsewhere(name))
        .map(|name| format!("{name}: is documented, and no service exports it"));
    Ok(undocumented.chain(missing).collect())
}

/// The name of a metric family: OpenMetrics has it without the suffix of its samples.
fn family(name: &str) -> &str {
    name.strip_suffix("_total").or_else(|| name.strip_suffix("_info")).unwrap_or(name)
}

/// The names in the first column of the tables whose first heading is `metric`.
fn names(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut in_table = false;
    for line in text.lines() {
        if !line.starts_with('|') {
            in_table = false;
        } else if line.starts_with("| metric |") {
            in_table = true;
        } else if let Some(name) = line.strip_prefix("| `").filter(|_| in_table) {
            let end = name.find(['{', '`']).unwrap_or(name.len());
            // `db_client_*` stands for those of another document.
            if !name[..end].contains('*') {
                names.insert(family(&name[..end]).to_owned());
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tables_of_metrics_are_read() {
        let text = "| metric | |\n|---|---|\n| `a_total{b}` | |\n| `c_seconds` | |\n| `e_*` | |\n\n| name | |\n| `d` | |\n";
        assert_eq!(names(text), BTreeSet::from(["a".to_owned(), "c_seconds".to_owned()]));
    }
}
