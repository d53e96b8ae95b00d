//! The program `backend-api`.

use std::process::ExitCode;

use backend_api::{Config, SERVICE, build, document};
use server::cli::Program;

fn main() -> ExitCode {
    Program { service: SERVICE, load: Config::load, document, build }.run()
}
