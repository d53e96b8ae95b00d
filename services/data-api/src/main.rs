//! The program `data-api`.

use std::process::ExitCode;

use data_api::{Config, SERVICE, build, document};
use server::cli::Program;

fn main() -> ExitCode {
    Program { service: SERVICE, load: Config::load, document, build }.run()
}
