//! The program `sre-kata`.

use std::process::ExitCode;

use server::cli::Program;
use sre_kata::{Config, SERVICE, build, document};

fn main() -> ExitCode {
    Program { service: SERVICE, load: Config::load, document, build }.run()
}
