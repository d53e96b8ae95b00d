//! The program `multivac`.

use std::process::ExitCode;

use multivac::{Command, Config, SERVICE, build, document};
use server::cli::Program;

fn main() -> ExitCode {
    Program { service: SERVICE, load: Config::load, document, build }.run_with(Command::work)
}
