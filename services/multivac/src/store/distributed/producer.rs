//! Adds jobs to the queue, those of many requests in one step.

use common::ServiceContext;
use common::context::TraceParent;
use common::telemetry::spans::fail;
use nosql::batcher::{BatchError, BatchLimits, Batcher};
use nosql::redis::{Connections, was_refused};
use nosql::script::Script;
use nosql::spans::batch_operation;
use prometheus_client::metrics::counter::Counter;
use redis::{RedisError, RedisResult};
use tracing::{Instrument as _, Span};

use super::keys::{IDEMPOTENCY_KEY, JOBS, OFFSET, SEQ};
use super::order::Order;
use super::queue::QUEUE;
use crate::error::Error;
use crate::store::interface::KEY_TTL;

/// Redis does nothing else while a script adds a batch, and writes the jobs of one to its disk while the next gather.
/// Each batch is a sync of that disk, so that few large ones are faster than many small ones.
const LIMITS: BatchLimits = BatchLimits { waiting: 4096, items: 256, bytes: 1 << 20, in_flight: 2 };

static ADD: Script = Script::new(include_str!("add.lua"));

/// A job's id; none if the queue is full.
type Added = Option<String>;

/// Adds jobs to the stream.
pub(super) struct Producer(Batcher<NewJob, Added, RedisError>);

/// A datum that is to be queued.
struct NewJob {
    datum: String,
    key: Option<String>,
    /// The span of the request that waits for it, and its context if it is recorded.
    span: Span,
    context: Option<TraceParent>,
}

impl Producer {
    pub(super) fn start(context: &ServiceContext, stream: JobStream) -> Self {
        Self(Batcher::start(context, LIMITS, move |jobs| stream.clone().append(jobs)))
    }

    /// Adds a job; returns its id, or that of the job that has the same idempotency key.
    pub(super) async fn add(&self, datum: &str, key: Option<&str>) -> Result<String, Error> {
        let (span, bytes) = (QUEUE.send(), datum.len());
        let (datum, key) = (datum.to_owned(), key.map(|key| format!("{IDEMPOTENCY_KEY}{key}")));
        let context = span.in_scope(TraceParent::current);
        match self.0.write(NewJob { datum, key, span: span.clone(), context }, bytes).await {
            Ok(Some(id)) => {
                span.record("messaging.message.id", &id);
                Ok(id)
            }
            Err(BatchError::Failed(error)) => {
                fail(&span, error.code().unwrap_or("_OTHER"));
                Err(not_added(error))
            }
            Ok(None) | Err(BatchError::Full) => {
                fail(&span, "queue_full");
                Err(Error::QueueFull)
            }
        }
    }
}

/// The stream that batches are appended to; clones share its connections.
#[derive(Clone)]
pub(super) struct JobStream {
    pub(super) redis: Connections,
    pub(super) order: Order,
    /// With as many jobs, no more are taken.
    pub(super) max_length: u64,
    pub(super) accepted: Counter,
}

impl JobStream {
    async fn append(self, jobs: Vec<NewJob>) -> RedisResult<Vec<Added>> {
        let recorded = jobs.iter().filter_map(|job| Some((&job.span, job.context?)));
        let span = batch_operation("redis", "EVALSHA", jobs.len(), recorded);
        let _held = self.redis.hold_server().await;
        let mut added = match self.order.prepare().await {
            Ok(()) => self.run(&jobs, OnEmpty::Refuse).instrument(span.clone()).await,
            Err(error) => Err(error),
        };
        if matches!(added, Ok(None)) {
            // While the store cannot be reached, the worker finds the position of these jobs.
            let _ = self.order.align().await;
            added = self.run(&jobs, OnEmpty::Begin).instrument(span.clone()).await;
        }
        let added = added.inspect_err(|error| {
            self.order.invalidate();
            fail(&span, error.code().unwrap_or("_OTHER"));
        })?;
        let (new, added) = added.unwrap_or_default();
        self.accepted.inc_by(new);
        Ok(added)
    }

    /// Runs the script, and returns how many jobs are new; none if Redis is empty and no new order is to begin.
    async fn run(
        &self,
        jobs: &[NewJob],
        on_empty: OnEmpty,
    ) -> RedisResult<Option<(u64, Vec<Added>)>> {
        let keys = jobs.iter().filter_map(|job| job.key.as_deref());
        let keys: Vec<_> = [JOBS, SEQ, OFFSET].into_iter().chain(keys).collect();
        let jobs = jobs.iter().map(|NewJob { datum, key, context, .. }| {
            let context = context.map(|context| context.to_string()).unwrap_or_default();
            (datum, key.is_some(), context)
        });
        let limits = (self.max_length, KEY_TTL.as_secs(), on_empty as i32);
        ADD.run(&self.redis, &keys, (limits, jobs.collect::<Vec<_>>())).await
    }
}

/// What the script does where Redis is empty.
#[derive(Clone, Copy)]
enum OnEmpty {
    Refuse,
    /// Begins a new order.
    Begin,
}

/// What an error says of the jobs that were to be added.
fn not_added(error: RedisError) -> Error {
    if error.code() == Some("OOM") {
        Error::QueueFull
    } else if was_refused(&error) {
        Error::NotQueued(error)
    } else {
        Error::Queue(error)
    }
}
