//! Crowds of clients that want more than they should, thrown at the services: each service in a cgroup with the
//! chart's default limit, a crowd of one address, and ordinary clients of another one beside it.

pub mod cgroup;
pub mod crowd;
pub mod ordinary;
pub mod process;
pub mod services;
pub mod trial;
pub mod upstream;
