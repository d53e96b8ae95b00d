//! The program `greeter`.

use std::process::ExitCode;

use common::cli::Program;
use greeter::{Config, SERVICE, build, document};

fn main() -> ExitCode {
    Program { service: SERVICE, load: Config::load, document, build }.run()
}
