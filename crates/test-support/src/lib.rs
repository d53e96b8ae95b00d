#![doc = include_str!("../README.md")]
#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::panic,
    reason = "in a test, what cannot go on is a failure: the panic is the report"
)]

mod app;
mod binary;
mod child;
mod client;
mod clock;
mod collector;
mod documents;
mod hammer;
mod proxy;
mod raw;
mod rotation;
mod servers;
mod skips;
mod variables;
mod volume;
mod wait;

pub use app::{App, logs, next_page};
pub use binary::Binary;
pub use client::GeneratedClient;
pub use clock::shifted_clock;
pub use collector::{Answer, Collector, Exported, tree};
pub use documents::check_document;
pub use hammer::hammer;
pub use proxy::{Mode, Proxy, Toward};
pub use raw::{RawConnection, RawResponse};
pub use rotation::{Load, RELOAD_INTERVAL, SecretFile, reloads, replace, rotations};
pub use rustix::process::Signal;
pub use servers::{
    Database, Durability, MongoDb, PgBouncer, Postgres, Redis, Server, Sql, SqlDatabase,
};
pub use skips::{lack, skip};
pub use volume::Volume;
pub use wait::{free_port, wait_until};
