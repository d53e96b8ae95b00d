//! The server as the clients of a small service see it.
#![expect(clippy::panic, clippy::unwrap_used, reason = "in a test, what cannot go on is a failure")]

mod bodies;
mod bounds;
mod configuration;
mod demo;
mod documents;
mod edge;
mod faults;
mod fuzz;
mod life;
mod logs;
mod metrics;
mod probes;
mod requests;
mod slow_clients;
mod streams;
mod telemetry;
mod tls;
