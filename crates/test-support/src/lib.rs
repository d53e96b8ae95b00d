//! t
#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::panic,
    reason = "in a test, what cannot go on is a failure: the panic is the report"
)]
mod app;
mod raw;
mod wait;
pub use app::{App, logs};
pub use raw::{RawConnection, RawResponse};
pub use wait::{free_port, wait_until};
