#![doc = include_str!("../README.md")]

mod secret;
mod watch;

pub use secret::{FileError, Secret, Source};
pub use watch::{Refusal, ReloadTrigger, Reloadable, Secrets};
