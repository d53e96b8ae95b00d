//! The program `greeter`.

use std::process::ExitCode;

use greeter::{Config, SERVICE, build, document};
use server::cli::Program;

fn main() -> ExitCode {
    Program { service: SERVICE, load: Config::load, document, build }.run()
}
