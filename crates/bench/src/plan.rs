//! How long and how often is measured.

use std::time::Duration;

use crate::samples::Samples;

/// The profile of what is measured: that of published images.
pub(crate) const PROFILE: &str = "dist";

/// A ratio is known well enough once its confidence interval is narrower than this, relative to the ratio.
const PRECISION: f64 = 0.05;

/// How long and how often to measure.
pub(crate) struct Plan {
    /// What results measured by it are kept under.
    pub(crate) name: &'static str,
    pub(crate) warm_up: Duration,
    /// One round on one side.
    pub(crate) round: Duration,
    /// Rounds that are made in any case, enough for a confidence interval.
    pub(crate) min_rounds: usize,
    /// Rounds after which a ratio stays as it is, however wide its interval.
    pub(crate) max_rounds: usize,
    /// A load at a fixed rate.
    pub(crate) latency: Duration,
    pub(crate) starts: usize,
    /// How many files a folder holds, and rows a table.
    pub(crate) held_files: u64,
    /// The most rows of a table that is grown.
    pub(crate) grown_rows: u64,
    /// The longest that a step may take: it then failed, and the next one begins.
    pub(crate) step: Duration,
}

pub(crate) const FULL: Plan = Plan {
    name: "full",
    warm_up: Duration::from_secs(2),
    round: Duration::from_secs(1),
    min_rounds: 9,
    max_rounds: 20,
    latency: Duration::from_secs(10),
    starts: 11,
    held_files: 1_000_000,
    grown_rows: 10_000_000,
    step: Duration::from_mins(6),
};

pub(crate) const QUICK: Plan = Plan {
    name: "quick",
    warm_up: Duration::from_secs(1),
    round: Duration::from_secs(1),
    min_rounds: 3,
    max_rounds: 5,
    latency: Duration::from_secs(2),
    starts: 5,
    held_files: 100_000,
    grown_rows: 10_000,
    step: Duration::from_mins(2),
};

impl Plan {
    /// Whether another round would tell more about a ratio.
    pub(crate) fn wants_more(&self, ratio: &Samples) -> bool {
        let rounds = ratio.len();
        rounds < self.min_rounds
            || (rounds < self.max_rounds && ratio.interval_width() >= PRECISION)
    }
}

#[cfg(test)]
mod tests {
    use super::FULL;
    use crate::samples::Samples;

    #[test]
    fn rounds_go_on_until_the_ratio_is_known_or_time_is_up() {
        let (mut quiet, mut noisy) = (Samples::default(), Samples::default());
        let [mut quiet_rounds, mut noisy_rounds] = [0_u8; 2];
        while FULL.wants_more(&quiet) {
            quiet.push(1.0 + f64::from(quiet_rounds % 3) / 100.0);
            quiet_rounds += 1;
        }
        while FULL.wants_more(&noisy) {
            noisy.push(1.0 + f64::from(noisy_rounds % 7));
            noisy_rounds += 1;
        }
        let rounds = [quiet_rounds, noisy_rounds].map(usize::from);
        assert_eq!(rounds, [FULL.min_rounds, FULL.max_rounds]);
    }
}
