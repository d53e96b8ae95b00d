//! What the parts of a running service share.

use crate::memory::{MemoryBudget, MemoryLimit};
use crate::metrics::Metrics;
use crate::probes::Readiness;
use crate::service::Service;
use crate::tasks::Tasks;

/// What the parts of a running service share; clones share it, too.
#[derive(Clone, Debug)]
pub struct ServiceContext {
    /// Where a part registers its metrics.
    pub metrics: Metrics,
    /// Where a part registers what it depends on.
    pub readiness: Readiness,
    /// Where a part starts background work.
    pub tasks: Tasks,
    /// Where a part takes memory that clients make it hold.
    pub memory: MemoryBudget,
}

impl ServiceContext {
    /// The context of a service that is about to start, under this limit of memory.
    #[must_use]
    pub fn new(service: &Service, limit: MemoryLimit) -> Self {
        let metrics = Metrics::new(service);
        Self {
            readiness: Readiness::new(&metrics),
            memory: MemoryBudget::new(limit, &metrics),
            metrics,
            tasks: Tasks::default(),
        }
    }
}
