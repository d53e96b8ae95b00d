//! The program `multivac`.

use std::process::ExitCode;

use common::cli::Program;
use multivac::{Command, Config, SERVICE, build, document};

fn main() -> ExitCode {
    Program { service: SERVICE, load: Config::load, document, build }.run_with(Command::work)
}
