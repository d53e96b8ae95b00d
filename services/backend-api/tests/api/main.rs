//! The service as its clients see it.
#![expect(clippy::unwrap_used, reason = "in a test, what cannot go on is a failure")]

mod api_1;
mod cardinality;
mod documents;
mod external_logs;
mod faults;
mod process;
mod rotation;
mod spans;
mod upstream;

use backend_api::{Config, build};
use test_support::App;

use upstream::Upstream;

/// What must be found nowhere but in a request to the external service.
const KEY: &str = "kept-2c9fca1d";

const DOWNLOAD: &str = "/download_external_logs";

/// The service with a key and these variables.
fn start(variables: &[(&str, &str)]) -> App {
    let variables: Vec<_> =
        [("EXTERNAL_INTEGRATION_KEY", KEY)].iter().chain(variables).copied().collect();
    App::start(&variables, Config::load, build)
}

/// The service with this external one, and these variables.
fn start_with(upstream: &Upstream, variables: &[(&str, &str)]) -> App {
    let url = upstream.url("/logs");
    let variables: Vec<_> =
        [("EXTERNAL_API_URL", &*url)].iter().chain(variables).copied().collect();
    start(&variables)
}
