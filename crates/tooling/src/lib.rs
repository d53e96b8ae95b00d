//! What the tools of a developer share: `xtask`, which `make` calls, and the benchmark.

mod name_server;
pub mod workspace;

pub use name_server::NameServer;
pub use workspace::{Member, Workspace};
