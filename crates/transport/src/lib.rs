#![doc = include_str!("../README.md")]

mod acceptor;
mod clients;
mod connection;
mod connections;
mod dispatcher;
mod limits;
mod listener;
mod refusals;
mod state;
mod stream;
pub mod tls;
mod worker;

pub use clients::{ClientPermit, ClientQuota};
pub use limits::TimeLimits;
pub use listener::{Listener, Settings, listen};
pub use refusals::Refused;
pub use state::{ConnectionState, Scheme};
