//! The service as its clients see it.
#![expect(clippy::unwrap_used, reason = "in a test, what cannot go on is a failure")]

mod cardinality;
mod documents;
mod home;
mod process;
mod query;
mod spans;

use sre_kata::{Config, build};
use test_support::App;

/// The service with these variables.
fn start(variables: &[(&str, &str)]) -> App {
    App::start(variables, Config::load, build)
}
