#![doc = include_str!("../README.md")]

mod causes;
pub mod cli;
pub mod config;
pub mod context;
pub mod docs;
pub mod extract;
pub mod metrics;
pub mod probes;
pub mod problem;
mod rate_limit;
pub mod server;
mod service;
mod signals;
mod tasks;
pub mod telemetry;
pub mod tls;

pub use causes::causes;
pub use config::{Config, Loader};
pub use metrics::Metrics;
pub use probes::Readiness;
pub use problem::Problem;
pub use rate_limit::RateLimiter;
pub use server::{Kit, Running, StartError, Stop, StopHandle};
pub use service::Service;
pub use tasks::Tasks;
