//! How long and how often is measured.

use std::time::Duration;

/// The profile of what is measured: that of published images.
pub(crate) const PROFILE: &str = "dist";

/// How long and how often to measure.
pub(crate) struct Plan {
    pub(crate) warm_up: Duration,
    pub(crate) rounds: usize,
    pub(crate) round: Duration,
    pub(crate) latency: Duration,
    pub(crate) starts: usize,
    /// How many times a large body is downloaded from each side.
    pub(crate) bodies: usize,
    /// How many files a folder holds.
    pub(crate) held_files: u64,
}

pub(crate) const FULL: Plan = Plan {
    warm_up: Duration::from_secs(2),
    rounds: 9,
    round: Duration::from_secs(2),
    latency: Duration::from_secs(10),
    starts: 11,
    bodies: 7,
    held_files: 1_000_000,
};

pub(crate) const QUICK: Plan = Plan {
    warm_up: Duration::from_secs(1),
    rounds: 5,
    round: Duration::from_secs(1),
    latency: Duration::from_secs(2),
    starts: 5,
    bodies: 3,
    held_files: 100_000,
};
