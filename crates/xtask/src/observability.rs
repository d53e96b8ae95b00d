//! Alerts, runbook and dashboards: that they fit together, and that each of their queries has an
//! answer on a Prometheus that scrapes the running services.

mod alerts;
mod metrics;
mod queries;
mod sources;
mod traces;

use std::path::{Path, PathBuf};

use tooling::Workspace;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Compares the alerts with their tests and with the sections of the runbook.
    Alerts,
    /// Runs every query of the dashboards and rules on a Prometheus that is started for it and
    /// scrapes the running services, and compares what these export with what is documented.
    Queries(queries::Args),
    /// Sends requests to services that are started for it, and compares their traces in Jaeger.
    Traces(traces::Args),
}

/// # Errors
/// When anything does not fit together, or has no answer.
pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    let root = Workspace::load()?.root;
    match command {
        Command::Alerts => alerts::check(&root),
        Command::Queries(args) => queries::check(&root, &args).await,
        Command::Traces(args) => traces::check(&root, &args).await,
    }
}

/// The files of rules, in order.
///
/// # Errors
/// When the folder cannot be read.
pub(crate) fn rule_files(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    sources::files(&sources::rules_folder(root), "yaml")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_norway::Value;

    use super::*;

    #[test]
    fn compose_has_the_rules_and_dashboards_of_the_chart() {
        let root = Workspace::load().unwrap().root;
        let compose = fs::read_to_string(root.join("compose.yaml")).unwrap();
        let compose: Value = serde_norway::from_str(&compose).unwrap();
        for (service, mount) in [
            ("prometheus", "./charts/stack/files/rules:/etc/prometheus/rules:ro"),
            ("grafana", "./charts/stack/files/dashboards:/etc/grafana/dashboards:ro"),
        ] {
            let volumes = compose["services"][service]["volumes"].as_sequence().unwrap();
            assert!(volumes.iter().any(|volume| volume == mount), "{service}: {volumes:?}");
        }
    }
}
