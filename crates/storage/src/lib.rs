#![doc = include_str!("../README.md")]

mod config;
mod connection;
mod database;
mod error;
mod fair;
mod metrics;
mod migrations;
mod monitor;
mod pools;
mod postgres;
mod session;
mod spans;
mod sqlite;
mod state;
mod writer;

pub use config::{DatabaseConfig, PostgresParts};
pub use connection::Connection;
pub use database::{Database, Operation};
pub use error::{BoxError, Error, ReadProblems, WriteProblems};
pub use migrations::{Schema, migrate};
pub use postgres::PostgresConnection;
pub use writer::{Batch, Execution, Item, Writer};
