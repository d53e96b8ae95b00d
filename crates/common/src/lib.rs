#![doc = include_str!("../README.md")]

mod causes;
pub mod config;
pub mod context;
pub mod memory;
pub mod metrics;
pub mod probes;
pub mod problem;
mod service;
mod service_context;
mod tasks;
pub mod telemetry;

pub use causes::causes;
pub use config::Loader;
pub use metrics::Metrics;
pub use probes::Readiness;
pub use problem::Problem;
pub use secrets::{self, Secrets};
pub use service::Service;
pub use service_context::ServiceContext;
pub use tasks::Tasks;
