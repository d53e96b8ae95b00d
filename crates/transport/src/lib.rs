#![doc = include_str!("../README.md")]

mod acceptor;
mod clients;
mod connection;
mod head;
mod listener;
mod refusals;
mod state;
mod stream;
pub mod tls;
mod worker;

pub use clients::Clients;
pub use listener::{Listener, Settings, listen};
pub use refusals::Refused;
pub use state::{Announced, ConnectionState};
