//! What is measured of a service beside single requests, a kind in each module.

mod chain;
mod growth;
mod held_files;
mod in_flight;
mod jobs;
mod names;
mod queue;
mod rows;
mod streaming;
mod tls;
mod tracing;
mod workers;
mod writes;

use anyhow::Result;

use crate::environment::Environment;
use crate::report::Row;

pub(crate) use chain::Chain;
pub(crate) use growth::{Grows, Growth};
pub(crate) use held_files::HeldFiles;
pub(crate) use in_flight::InFlight;
pub(crate) use jobs::{BesideBareLoop, Jobs, Within};
pub(crate) use names::{NAMES, Names};
pub(crate) use queue::{Args as QueueArgs, Queue, run as serve_queue};
pub(crate) use rows::Rows;
pub(crate) use streaming::{Args as ProxyArgs, Streaming, run as serve_proxy};
pub(crate) use tls::Tls;
pub(crate) use tracing::Tracing;
pub(crate) use workers::Workers;
pub(crate) use writes::Writes;

/// What is measured of a service beside single requests.
pub(crate) enum Workload {
    Chain(Chain),
    InFlight(InFlight),
    HeldFiles(HeldFiles),
    Jobs(Jobs),
    Names(Names),
    Queue(Queue),
    Rows(Rows),
    Streaming(Streaming),
    Tls(Tls),
    Tracing(Tracing),
    Workers(Workers),
    Writes(Writes),
}

impl Workload {
    /// What it is called where it has come to no figures.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Chain(_) => "a download through both",
            Self::InFlight(_) => "in flight",
            Self::HeldFiles(_) => "held files",
            Self::Jobs(_) => "jobs",
            Self::Names(_) => "names",
            Self::Queue(_) => "queue",
            Self::Rows(_) => "rows",
            Self::Streaming(_) => "1 GiB",
            Self::Tls(_) => "HTTPS",
            Self::Tracing(_) => "spans",
            Self::Workers(_) => "two workers",
            Self::Writes(_) => "writes",
        }
    }

    /// The figures of the workload alone.
    ///
    /// # Errors
    /// When the service does not do what the measurement rests on.
    pub(crate) async fn measure(&self, environment: &Environment<'_>) -> Result<Vec<Row>> {
        match self {
            Self::Chain(workload) => workload.measure(environment).await,
            Self::InFlight(workload) => workload.measure(environment).await,
            Self::HeldFiles(workload) => workload.measure(environment).await,
            Self::Names(workload) => workload.measure(environment).await,
            Self::Jobs(workload) => workload.measure(environment).await,
            Self::Queue(workload) => workload.measure(environment).await,
            Self::Rows(workload) => workload.measure(environment).await,
            Self::Streaming(workload) => workload.measure(environment).await,
            Self::Tls(workload) => workload.measure(environment).await,
            Self::Tracing(workload) => workload.measure(environment).await,
            Self::Workers(workload) => workload.measure(environment).await,
            Self::Writes(workload) => workload.measure(environment).await,
        }
    }
}
