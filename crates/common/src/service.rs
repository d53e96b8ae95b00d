//! A service: its identity, and what its parts share.

use std::sync::LazyLock;
use std::time::Duration;

use faults::Faults;

use crate::memory::{MemoryBudget, MemoryLimit};
use crate::{Metrics, Readiness, Secrets, Tasks};

/// A service's identity, the same in its logs, metrics, documents and command line.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// The name in logs, metrics and file names: lower case, words joined by `-`.
    pub name: &'static str,
    /// The version of the package.
    pub version: &'static str,
    /// One sentence for `--help` and the OpenAPI document.
    pub description: &'static str,
    /// The name of its file in `LOG_DIR`, without `.log`.
    pub log_name: &'static str,
    /// The port where `PORT` is not set.
    pub default_port: u16,
}

impl Service {
    /// The source revision: `REVISION` of the build, else of the environment, where images have it.
    /// So a commit that changes no source changes no binary.
    #[must_use]
    pub fn revision() -> &'static str {
        static REVISION: LazyLock<String> = LazyLock::new(|| {
            #[expect(clippy::disallowed_methods, reason = "it is an identity, and no setting")]
            let of_image = || std::env::var("REVISION").ok();
            let revision = option_env!("REVISION").map(str::to_owned).or_else(of_image);
            revision.filter(|it| !it.is_empty()).unwrap_or_else(|| "unknown".to_owned())
        });
        &REVISION
    }
}

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
            memory: MemoryBudget::new(limit, &metrics),
            secrets: metrics.register(|registry| Secrets::new(registry, spawn)),
            faults: Faults::off(),
            metrics,
            tasks,
        }
    }

    /// The same, with faults that can be injected.
    #[must_use]
    pub fn with_faults(mut self) -> Self {
        self.faults = self.metrics.register(Faults::on);
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

/// A [`Service`] named after the calling package, with its version and description.
///
/// ```
/// const SERVICE: common::Service = common::service!(port: 8003);
/// ```
#[macro_export]
macro_rules! service {
    (port: $port:literal) => {
        $crate::Service {
            name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            description: env!("CARGO_PKG_DESCRIPTION"),
            log_name: env!("CARGO_PKG_NAME"),
            default_port: $port,
        }
    };
}
