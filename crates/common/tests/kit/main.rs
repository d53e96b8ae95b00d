//! The kit as the clients of a small service see it.

mod bodies;
mod configuration;
mod demo;
mod documents;
mod life;
mod logs;
mod metrics;
mod probes;
mod requests;
mod slow_clients;
mod telemetry;
