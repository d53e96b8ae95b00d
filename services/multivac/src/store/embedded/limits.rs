//! The configured limits of jobs.

use super::time::milliseconds;
use crate::config::JobsConfig;
use crate::store::interface::FIRST_BACK_OFF;

/// The limits of jobs; times in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) max_length: u64,
    pub(super) tombstone_ttl: i64,
    pub(super) max_attempts: u32,
    /// A job that is due later than this from now was given that time by a clock that has since been set
    /// back: it is due.
    pub(super) longest_back_off: i64,
}

impl Limits {
    pub(super) fn of(config: &JobsConfig) -> Self {
        Self {
            max_length: config.queue_max_length,
            tombstone_ttl: milliseconds(config.tombstone_ttl),
            max_attempts: config.job_max_attempts.get(),
            longest_back_off: milliseconds(config.job_claim_after),
        }
    }

    /// How long a job waits after so many refusals.
    pub(super) fn back_off(&self, attempts: u32) -> i64 {
        let times = 2_i64.saturating_pow(attempts.saturating_sub(1));
        milliseconds(FIRST_BACK_OFF).saturating_mul(times).min(self.longest_back_off)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_back_off_doubles_up_to_its_limit() {
        let limits = Limits::of(&JobsConfig::default());
        let back_offs = [1, 2, 3, 5, 6, 64, u32::MAX].map(|attempts| limits.back_off(attempts));
        assert_eq!(back_offs, [1000, 2000, 4000, 16_000, 30_000, 30_000, 30_000]);
    }
}
