//! The program `stakefish`.

use std::process::ExitCode;

use server::cli::Program;
use stakefish::{Command, Config, SERVICE, build, document};

fn main() -> ExitCode {
    Program { service: SERVICE, load: Config::load, document, build }.run_with(Command::work)
}
