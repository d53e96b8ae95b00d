//! The program `data-api`.

use std::process::ExitCode;

use common::cli::Program;
use data_api::{Config, SERVICE, build, document};

fn main() -> ExitCode {
    Program { service: SERVICE, load: Config::load, document, build }.run()
}
