//! Measures every service against a bare server, and what each has to keep up beside that.
//!
//! `docs/performance.md` says how to read the figures.
#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "it answers to people, on standard output and error"
)]

mod bare;
mod catalogue;
mod command;
mod compare;
mod environment;
mod load;
mod metrics;
mod peer;
mod plan;
mod plot;
mod report;
mod request;
mod results;
mod rounds;
mod run;
mod samples;
mod server;
mod subject;
mod workloads;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(about, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(flatten)]
    run: run::Args,
    #[command(subcommand)]
    server: Option<BareServer>,
}

/// A server that this program starts to measure against.
#[derive(Debug, Subcommand)]
enum BareServer {
    /// Sends what a service sent.
    #[command(hide = true)]
    Bare(bare::Args),
    /// Queues what is posted.
    #[command(hide = true)]
    BareQueue(workloads::QueueArgs),
    /// Hands through what another server answers.
    #[command(hide = true)]
    BareProxy(workloads::ProxyArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    // Without a provider reqwest makes no client, not even for plain HTTP. An error means there is
    // one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments = Arguments::parse();
    let result = match arguments.server {
        None => run::run(arguments.run).await,
        Some(BareServer::Bare(args)) => bare::run(args).await,
        Some(BareServer::BareQueue(args)) => workloads::serve_queue(args).await,
        Some(BareServer::BareProxy(args)) => workloads::serve_proxy(args).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
