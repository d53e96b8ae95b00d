//! The program `stakefish`.

use std::process::ExitCode;

use clap::Subcommand;
use server::cli::{Program, Work};
use stakefish::{Config, SCHEMA, SERVICE, build, document};
use storage::migrate;

#[derive(Debug, Subcommand)]
enum Command {
    /// Apply pending migrations to the database.
    Migrate,
}

fn main() -> ExitCode {
    let program = Program { service: SERVICE, load: Config::load, document, build };
    program.run_with(|command, program| match command {
        Command::Migrate => {
            Work::once(program, async |config: Config| migrate(&config.database, &SCHEMA).await)
        }
    })
}
