//! Alerts, runbook and dashboards: that they fit together, and that each of their queries has an
//! answer on a Prometheus that scrapes the running services.

mod alerts;
mod metrics;
mod queries;
mod sources;

use std::path::{Path, PathBuf};

use tooling::Workspace;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Compares the alerts with their tests and with the sections of the runbook.
    Alerts,
    /// Runs every query of the dashboards and rules on a Prometheus that is started for it and
    /// scrapes the running services, and compares what these export with what is documented.
    Queries(queries::Args),
}

/// # Errors
/// When anything does not fit together, or has no answer.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let root = Workspace::load()?.root;
    match args.command {
        Command::Alerts => alerts::check(&root),
        Command::Queries(args) => queries::check(&root, &args).await,
    }
}

/// The files of rules, in order.
///
/// # Errors
/// When the folder cannot be read.
pub(crate) fn rule_files(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    sources::files(&sources::rules_folder(root), "yaml")
}
