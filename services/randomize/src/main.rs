//! The program `randomize`.

use std::process::ExitCode;

use randomize::{Command, Config, SERVICE, build, document};
use server::cli::Program;

fn main() -> ExitCode {
    Program { service: SERVICE, load: Config::load, document, build }.run_with(Command::work)
}
