//! The program `randomize`.

use std::process::ExitCode;

use common::cli::Program;
use randomize::{Command, Config, SERVICE, build, document};

fn main() -> ExitCode {
    Program { service: SERVICE, load: Config::load, document, build }.run_with(Command::work)
}
