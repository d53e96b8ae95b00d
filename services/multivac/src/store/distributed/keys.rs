//! The keys in Redis. The braces keep all of them in one slot of a cluster.

/// The stream of jobs that wait.
pub(super) const JOBS: &str = "{multivac}:jobs";

/// The number of the job that was accepted last.
pub(super) const SEQ: &str = "{multivac}:seq";

/// The consumer group of all workers.
pub(super) const GROUP: &str = "workers";

/// How often the store has refused each job that was refused at all; of one that was a dead letter from 0 anew.
pub(super) const ATTEMPTS: &str = "{multivac}:attempts";

/// The stream of dead letters.
pub(super) const DEAD_LETTERS: &str = "{multivac}:dead-letters";

/// The dead letter that a job is.
pub(super) const DEAD_LETTERS_BY_JOB: &str = "{multivac}:dead-letters:by-job";

/// The prefix of an idempotency key.
pub(super) const IDEMPOTENCY_KEY: &str = "{multivac}:idempotency:";

/// What is added to a job's number to get its position among the stored data. Absent until version 0.2.0, and
/// `unknown` until it is known what the store has.
pub(super) const OFFSET: &str = "{multivac}:offset";

/// A key that never exists, which the readiness check deletes.
pub(super) const WRITE_CHECK: &str = "{multivac}:write-check";
