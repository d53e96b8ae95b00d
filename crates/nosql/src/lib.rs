#![doc = include_str!("../README.md")]

pub mod batcher;
pub mod collection;
pub mod mongodb;
pub mod redis;
pub mod script;
pub mod spans;
pub mod stream;
mod watch;

pub use watch::Watch;
