//! What `make` calls that is more than a line of shell.
#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "the commands of a tool answer to people, on standard output and error"
)]

mod book;
mod charts;
mod checks;
mod circles;
mod dev;
mod documents;
mod gameday;
mod observability;
mod observe;
mod process;
mod services;
mod session;
mod smoke;
mod stack;
mod table;
mod variables;
mod watch;

use std::process::ExitCode;

use clap::Parser;

#[derive(Debug, Parser)]
#[command(about)]
enum Command {
    /// Builds and starts every service with development defaults, or one and again at each change.
    Dev(dev::Args),
    /// Ends every `dev` of this clone, and what one has left behind.
    Stop,
    /// Prints a trace of what runs with `make dev OBSERVE=1`, or which there are.
    Trace(observe::Args),
    /// Calls every endpoint of every running service and prints what passed.
    Smoke(smoke::Args),
    /// Checks what every member must inherit, the sizes that tell, and that modules form no circle.
    CheckWorkspace,
    /// Checks that `docs/documents.md` names files that exist.
    CheckDocuments,
    /// Checks that every variable is described, and set by the charts.
    CheckVariables,
    /// Writes the services' OpenAPI documents below `docs/openapi`.
    Openapi(checks::OpenapiArgs),
    /// Generates what is generated of the charts, or checks them.
    #[command(subcommand)]
    Charts(charts::Command),
    /// Writes what mdBook makes the book of.
    Book(book::Args),
    /// Checks alerts, runbook and dashboards, alone and on a real Prometheus.
    #[command(subcommand)]
    Observability(observability::Command),
    /// Plays faults in a running stack, and checks alerts, probes and what clients see.
    Gameday(gameday::Args),
    /// What `dev` starts a service through.
    #[command(hide = true)]
    Supervised(process::SupervisedArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    // Without a provider reqwest makes no client, not even for plain HTTP. An error means there is
    // one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let result = match Command::parse() {
        Command::Dev(args) => dev::run(args).await,
        Command::Stop => session::stop().await,
        Command::Trace(args) => observe::print(args).await,
        Command::Smoke(args) => smoke::run(args).await,
        Command::CheckWorkspace => checks::check_workspace(),
        Command::Gameday(args) => gameday::run(&args).await,
        Command::CheckDocuments => documents::check(),
        Command::CheckVariables => variables::check(),
        Command::Openapi(args) => checks::write_openapi(&args),
        Command::Charts(command) => charts::run(&command),
        Command::Book(args) => book::stage(&args),
        Command::Observability(command) => observability::run(command).await,
        Command::Supervised(args) => process::supervised(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
