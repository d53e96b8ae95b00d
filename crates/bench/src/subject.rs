//! A service as it is started for the measurement.

/// A variable and its value.
pub(crate) type Variable = (&'static str, &'static str);

/// A variable's value that stands for the address of the benchmark's own name server.
pub(crate) const NAME_SERVER: &str = "<name server>";

/// A service, what it is started with, and what its process may take.
pub(crate) struct Subject {
    /// What its figures stand under: the service, and what sets this configuration apart where it has several.
    pub(crate) name: &'static str,
    /// Name of the service and of its binary.
    pub(crate) service: &'static str,
    /// Variables beside `HOST`, `PORT`, `WORKERS` and `LOG_FORMAT`; nothing else is set.
    pub(crate) env: &'static [Variable],
    /// Whether it gets an `ADMIN_PORT`, where `/readyz` and `/metrics` are then asked.
    pub(crate) admin_port: bool,
    /// Whether it gets a Redis and a MongoDB of its own, which `REDIS_URL` and `MONGO_URL` name.
    pub(crate) has_stores: bool,
    pub(crate) limits: Limits,
}

/// What a process may take.
pub(crate) struct Limits {
    /// Largest binary in MiB, without symbols.
    pub(crate) binary_mib: f64,
    /// Longest time in ms from exec until `/readyz` answers 200.
    pub(crate) ready_ms: f64,
    /// Most resident memory in MiB after the start.
    pub(crate) idle_mib: f64,
    /// Most resident memory 10 s after the load, as a multiple of the idle memory.
    pub(crate) settled_ratio: f64,
}
