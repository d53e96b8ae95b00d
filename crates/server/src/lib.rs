#![doc = include_str!("../README.md")]

mod application;
pub mod cli;
mod config;
mod docs;
mod endpoints;
mod error;
pub mod extract;
mod faults;
mod lifecycle;
mod listener;
mod liveness;
mod metrics;
mod openapi;
mod operations;
mod page;
mod proxies;
mod rate_limit;
mod references;
mod routes;
mod running;
mod signals;

/// What a crowd has used is given back to the system once the crowd has gone, which the allocator of the C library
/// does not do (ADR 0017).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub use application::Application;
pub use config::{Config, ServerConfig};
pub use endpoints::document;
pub use error::StartError;
pub use page::HtmlPage;
pub use rate_limit::RateLimiter;
pub use references::{prefers_html, reference};
pub use routes::no_such_route;
pub use running::{Running, Stop, StopHandle};
pub use transport::tls::TlsError;
