//! The service as its clients see it.

mod documents;
mod query;

use sre_kata::{Config, build};
use test_support::App;

/// The service with these variables.
fn start(variables: &[(&str, &str)]) -> App {
    App::start(variables, Config::load, build)
}
