//! Each alert has what a person who is called needs: labels, annotations, a section, and tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_norway::Value;

use super::sources::{files, rules_folder};

/// What each section of the runbook says, in this order.
const PARTS: [&str; 5] =
    ["**Meaning.** ", "**Affected.** ", "**See more.**", "**Do.**", "**Over when.** "];

const SEVERITIES: [&str; 2] = ["critical", "warning"];

/// # Errors
/// With all that is missing or too much.
pub(super) fn check(root: &Path) -> anyhow::Result<()> {
    let mut alerts = Vec::new();
    for file in files(&rules_folder(root), "yaml")? {
        alerts.extend(alerts_of(&load(&file)?));
    }
    let mut tests = Vec::new();
    for file in files(&root.join("charts/stack/tests/rules"), "yaml")? {
        tests.push(load(&file)?);
    }
    let runbook = fs::read_to_string(root.join("docs/runbook.md"))?;
    let names: BTreeSet<_> = alerts.iter().map(|alert| text(alert, "alert")).collect();
    let mut problems: Vec<_> = alerts.iter().flat_map(incomplete).collect();
    problems.extend(compare(&names, &sections(&runbook)));
    problems.extend(untested(&names, &tests));
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    println!("{} alerts have a section in docs/runbook.md, and tests", names.len());
    Ok(())
}

fn load(file: &Path) -> anyhow::Result<Value> {
    let context = || file.display().to_string();
    serde_norway::from_str(&fs::read_to_string(file).with_context(context)?).with_context(context)
}

/// The members of a list, none if it is none.
fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_sequence).into_iter().flatten()
}

/// A member that is a text, empty without one.
fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn alerts_of(file: &Value) -> Vec<Value> {
    let rules = list(file, "groups").flat_map(|group| list(group, "rules"));
    rules.filter(|rule| rule.get("alert").is_some()).cloned().collect()
}

/// The labels and annotations that an alert lacks.
fn incomplete(alert: &Value) -> Vec<String> {
    let name = text(alert, "alert");
    let mut problems = Vec::new();
    let severity = alert.get("labels").map_or("", |labels| text(labels, "severity"));
    if !SEVERITIES.contains(&severity) {
        problems.push(format!("{name}: the severity {severity:?} is none of {SEVERITIES:?}"));
    }
    let annotation = |key| alert.get("annotations").map_or("", |found| text(found, key));
    for key in ["summary", "description", "dashboard_url"] {
        if annotation(key).is_empty() {
            problems.push(format!("{name}: has no {key}"));
        }
    }
    let end = format!("/runbook.html#{}", name.to_lowercase());
    if !annotation("runbook_url").ends_with(&end) {
        problems.push(format!("{name}: its runbook_url does not end with {end}"));
    }
    problems
}

/// The sections below `## Alerts`, by name.
fn sections(runbook: &str) -> BTreeMap<&str, &str> {
    let alerts = runbook.split("\n## ").find(|chapter| chapter.starts_with("Alerts\n"));
    let sections = alerts.unwrap_or_default().split("\n### ").skip(1);
    sections.filter_map(|section| section.split_once('\n')).collect()
}

fn compare(alerts: &BTreeSet<&str>, sections: &BTreeMap<&str, &str>) -> Vec<String> {
    let mut problems = Vec::new();
    for alert in alerts {
        let Some(section) = sections.get(alert) else {
            problems.push(format!("{alert}: has no section in docs/runbook.md"));
            continue;
        };
        let mut rest = *section;
        for part in PARTS {
            match rest.split_once(&format!("\n{part}")) {
                Some((_, after)) => rest = after,
                None => problems.push(format!("{alert}: its section has no {}", part.trim())),
            }
        }
    }
    let surplus = sections.keys().filter(|name| !alerts.contains(*name));
    problems.extend(surplus.map(|name| format!("docs/runbook.md: no alert is called {name}")));
    problems
}

/// The alerts of which no test sees that they fire, and in the same test later that they resolve.
fn untested(alerts: &BTreeSet<&str>, files: &[Value]) -> Vec<String> {
    let mut tested = BTreeSet::new();
    for test in files.iter().flat_map(|file| list(file, "tests")) {
        let mut fired = BTreeMap::new();
        for check in list(test, "alert_rule_test") {
            let (name, time) = (text(check, "alertname"), time(text(check, "eval_time")));
            if list(check, "exp_alerts").next().is_some() {
                fired.insert(name, time);
            } else if fired.get(name).is_some_and(|fired| *fired < time) {
                tested.insert(name);
            }
        }
    }
    let untested = alerts.iter().filter(|name| !tested.contains(*name));
    untested.map(|name| format!("{name}: no test sees it fire and then resolve")).collect()
}

fn time(text: &str) -> Duration {
    humantime::parse_duration(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alerts_of_the_chart_are_complete() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        check(&root).unwrap();
    }

    #[test]
    fn a_section_too_few_or_too_many_is_named() {
        let section = "\n\n**Meaning.** a\n\n**Affected.** b\n\n**See more.**\n\n**Do.**\n\n";
        let runbook =
            format!("# R\n\n## Alerts\n\n### A{section}**Over when.** c\n\n### B{section}");
        let sections = sections(&runbook);
        assert_eq!(
            compare(&BTreeSet::from(["A", "C"]), &sections),
            ["C: has no section in docs/runbook.md", "docs/runbook.md: no alert is called B",]
        );
        assert_eq!(
            compare(&BTreeSet::from(["A", "B"]), &sections),
            ["B: its section has no **Over when.**"]
        );
    }

    #[test]
    fn an_alert_that_is_not_seen_to_resolve_is_untested() {
        let test = |times: [&str; 2]| {
            let [fires, quiet] = times;
            serde_norway::from_str::<Value>(&format!(
                "tests: [{{alert_rule_test: [{{eval_time: {fires}, alertname: A, exp_alerts: [1]}}, \
                 {{eval_time: {quiet}, alertname: A}}]}}]"
            ))
            .unwrap()
        };
        let alerts = BTreeSet::from(["A"]);
        assert!(untested(&alerts, &[test(["5m", "1h"])]).is_empty());
        assert_eq!(untested(&alerts, &[test(["5m", "1m"])]).len(), 1);
    }
}
