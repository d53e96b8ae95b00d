//! What the parts of a running service share.

use std::time::Duration;

use faults::Faults;
use secrets::Secrets;

use crate::memory::{Budget, MemoryLimit};
use crate::metrics::Metrics;
use crate::probes::{Readiness, is_probe_path};
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
    pub memory: Budget,
    /// Where a part follows the files of its secrets.
    pub secrets: Secrets,
    /// Faults on purpose, none unless an operator has switched them on.
    pub faults: Faults,
}

impl ServiceContext {
    /// The context of a service that is about to start, under this limit of memory.
    #[must_use]
    pub fn new(service: &Service, limit: MemoryLimit) -> Self {
        let (metrics, tasks) = (Metrics::new(service), Tasks::default());
        let of_secrets = tasks.clone();
        let spawn = move |task| of_secrets.spawn(task);
        Self {
            readiness: Readiness::new(&metrics),
            memory: Budget::of_memory(limit, &metrics),
            secrets: metrics.register(|registry| Secrets::new(registry, spawn)),
            faults: Faults::off(),
            metrics,
            tasks,
        }
    }

    /// The same, with faults that can be injected.
    #[must_use]
    pub fn with_faults(mut self) -> Self {
        self.faults = self.metrics.register(|registry| Faults::on(registry, is_probe_path));
        let faults = self.faults.clone();
        self.readiness.check(&self.tasks, "fault-injection", move || {
            let off = faults.is_unready().then(|| "a rule says that it is not ready".into());
            std::future::ready(off.map_or(Ok(()), Err))
        });
        self
    }

    /// The same, with the files of secrets read as often as this.
    #[must_use]
    pub fn reading_secrets_every(mut self, interval: Duration) -> Self {
        self.secrets.read_every(interval);
        self
    }
}
