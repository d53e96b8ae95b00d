//! What is measured of a service beside single requests, a kind in each module.

mod held_files;
mod in_flight;
mod jobs;
mod names;
mod queue;
mod rows;
mod streaming;
mod tracing;
mod writes;

use anyhow::Result;

use crate::environment::Environment;
use crate::report::Row;

pub(crate) use held_files::HeldFiles;
pub(crate) use in_flight::InFlight;
pub(crate) use jobs::{Jobs, Within};
pub(crate) use names::{NAMES, Names};
pub(crate) use queue::{Args as QueueArgs, Queue, run as serve_queue};
pub(crate) use rows::Rows;
pub(crate) use streaming::{Args as ProxyArgs, Streaming, run as serve_proxy};
pub(crate) use tracing::Tracing;
pub(crate) use writes::Writes;

/// What is measured of a service beside single requests.
pub(crate) enum Workload {
    InFlight(InFlight),
    HeldFiles(HeldFiles),
    Jobs(Jobs),
    Names(Names),
    Queue(Queue),
    Rows(Rows),
    Streaming(Streaming),
    Tracing(Tracing),
    Writes(Writes),
}

impl Workload {
    /// The figures of the workload alone.
    ///
    /// # Errors
    /// When the service does not do what the measurement rests on.
    pub(crate) async fn measure(&self, environment: &Environment<'_>) -> Result<Vec<Row>> {
        match self {
            Self::InFlight(workload) => workload.measure(environment).await,
            Self::HeldFiles(workload) => workload.measure(environment).await,
            Self::Names(workload) => workload.measure(environment).await,
            Self::Jobs(workload) => workload.measure(environment).await,
            Self::Queue(workload) => workload.measure(environment).await,
            Self::Rows(workload) => workload.measure(environment).await,
            Self::Streaming(workload) => workload.measure(environment).await,
            Self::Tracing(workload) => workload.measure(environment).await,
            Self::Writes(workload) => workload.measure(environment).await,
        }
    }
}
