//! Whether every variable of every service stands in a document, and is set by the service's chart.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use tooling::workspace::{self, Workspace};

use crate::services::{SERVICES, Service};

/// Where the variables of all services are described.
const DOCUMENT: &str = "docs/configuration.md";

/// Where the charts set those of all services.
const LIBRARY: &str = "charts/library/templates/_config.tpl";

/// Own variables that no value of a chart stands for: an operator who needs them writes them into `env`.
const BY_ENV_ALONE: [&str; 12] = [
    "AUDIT_RETENTION",
    "DATABASE_MAX_CONNECTIONS",
    "DATABASE_TIMEOUT",
    "DNS_TIMEOUT",
    "JOB_CLAIM_AFTER",
    "JOB_MAX_ATTEMPTS",
    // The parts of a URL, for development: a chart has the URL.
    "POSTGRES_DB",
    "POSTGRES_HOST",
    "POSTGRES_PASSWORD",
    "POSTGRES_PORT",
    "POSTGRES_USER",
    "TOMBSTONE_TTL",
];

/// Asks each service for its variables, and looks for them.
///
/// # Errors
/// With every variable that is not found, and every exception that is none; when a build or a service fails.
pub(crate) fn check() -> anyhow::Result<()> {
    let Workspace { root, .. } = Workspace::load()?;
    let packages: Vec<_> = SERVICES.iter().map(|service| service.package).collect();
    ensure!(workspace::build(&packages).status()?.success(), "the build failed");
    let read = |file: &str| fs::read_to_string(root.join(file)).with_context(|| file.to_owned());
    let (document, library) = (read(DOCUMENT)?, read(LIBRARY)?);
    let (mut problems, mut count, mut by_env) = (Vec::new(), 0, BTreeSet::new());
    for service in SERVICES {
        let name = service.package;
        let readme = format!("services/{name}/README.md");
        let chart = format!("charts/{name}/templates/all.yaml");
        let (described, templates) = (read(&readme)?, read(&chart)? + &library);
        for variable in variables_of(service)? {
            count += 1;
            let is_common = describes(&document, &variable);
            if !is_common && !describes(&described, &variable) {
                problems.push(format!("{variable} is neither in {readme} nor in {DOCUMENT}"));
            }
            if BY_ENV_ALONE.contains(&variable.as_str()) {
                by_env.insert(variable);
            } else if !is_common && !sets(&templates, &variable) {
                problems.push(format!("{variable} is not set by {chart}"));
            }
        }
    }
    let unknown = BY_ENV_ALONE.iter().filter(|name| !by_env.contains(**name));
    problems.extend(unknown.map(|name| format!("{name} is a variable of no service any more")));
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    println!("{count} variables of {} services, all of them described", packages.len());
    Ok(())
}

/// The names in what `<service> config` prints.
fn variables_of(service: &Service) -> anyhow::Result<Vec<String>> {
    let workspace = Workspace::load()?;
    let plain = service.env.iter().filter(|(_, value)| !value.contains('{'));
    let output = Command::new(workspace.binary(service.package))
        .arg("config")
        .env_clear()
        .envs(plain.copied())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {}", service.package))?;
    ensure!(output.status.success(), "`{} config` failed: {}", service.package, output.status);
    Ok(names(&String::from_utf8(output.stdout)?))
}

fn names(printed: &str) -> Vec<String> {
    let variables = printed.lines().filter(|line| !line.starts_with('#'));
    variables.filter_map(|line| Some(line.split_once('=')?.0.to_owned())).collect()
}

/// Whether a table has the variable in its first column.
fn describes(document: &str, variable: &str) -> bool {
    let cells = document.lines().filter_map(|line| line.strip_prefix('|')?.split('|').next());
    cells.into_iter().any(|cell| cell.contains(&format!("`{variable}`")))
}

/// Whether a template sets the variable, as a plain one or as that of a secret.
fn sets(templates: &str, variable: &str) -> bool {
    templates.lines().any(|line| line.trim_start().starts_with(&format!("{variable}:")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_lines_with_a_value() {
        assert_eq!(names("A=1\nB=\n# C=2 of 3\n"), ["A", "B"]);
    }

    #[test]
    fn a_variable_is_found_in_a_first_column_and_as_a_key() {
        let table = "| `A`, `A_FILE` | `B` | what `C` is |\n`D` in a text\n";
        for (variable, is_there) in [("A", true), ("B", false), ("C", false), ("D", false)] {
            assert_eq!(describes(table, variable), is_there, "{variable}");
        }
        assert!(sets("env:\n  A: 1\n", "A"));
        assert!(!sets("env:\n  AB: 1\n", "A"));
    }
}
