//! Adds jobs to the queue, those of many requests in one step.

use std::sync::LazyLock;

use common::ServiceContext;
use common::context::TraceParent;
use common::telemetry::spans::fail;
use nosql::batcher::{BatchError, BatchLimits, Batcher};
use nosql::redis::{Connections, was_refused};
use nosql::spans;
use prometheus_client::metrics::counter::Counter;
use redis::{RedisError, RedisResult, Script};
use tracing::{Instrument as _, Span};

use super::keys::{IDEMPOTENCY_KEY, JOBS, OFFSET, SEQ};
use super::order::Order;
use super::queue::QUEUE;
use crate::error::Error;
use crate::store::interface::KEY_TTL;

/// Redis does nothing else while a script adds a batch, and writes the jobs of one to its disk while the next gather.
const LIMITS: BatchLimits = BatchLimits { waiting: 4096, items: 256, bytes: 1 << 20, in_flight: 4 };

static ADD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("add.lua")));

/// A job's id and whether the job is new; none if the queue is full.
type Added = Option<(String, bool)>;

/// Adds jobs to the stream.
pub(super) struct Producer(Batcher<NewJob, Added, RedisError>);

/// A datum that is to be queued.
struct NewJob {
    datum: String,
    key: Option<String>,
    /// The span of the request that waits for it.
    span: Span,
}

impl Producer {
    pub(super) fn start(context: &ServiceContext, stream: JobStream) -> Self {
        Self(Batcher::start(context, LIMITS, move |jobs| stream.clone().append(jobs)))
    }

    /// Adds a job; returns its id, or that of the job that has the same idempotency key.
    pub(super) async fn add(&self, datum: &str, key: Option<&str>) -> Result<String, Error> {
        let (span, bytes) = (QUEUE.send(), datum.len());
        let (datum, key) = (datum.to_owned(), key.map(|key| format!("{IDEMPOTENCY_KEY}{key}")));
        match self.0.write(NewJob { datum, key, span: span.clone() }, bytes).await {
            Ok(Some((id, _))) => {
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
        let contexts: Vec<_> =
            jobs.iter().map(|job| job.span.in_scope(TraceParent::current)).collect();
        let span = batch_span(&jobs, &contexts);
        let _held = self.redis.hold_server().await;
        let mut added = match self.order.prepare().await {
            Ok(()) => self.run(&jobs, &contexts, OnEmpty::Refuse).instrument(span.clone()).await,
            Err(error) => Err(error),
        };
        if matches!(added, Ok(None)) {
            // While the store cannot be reached, the worker finds the position of these jobs.
            let _ = self.order.verify().await;
            added = self.run(&jobs, &contexts, OnEmpty::Begin).instrument(span.clone()).await;
        }
        let added = added.inspect_err(|error| {
            self.order.invalidate();
            fail(&span, error.code().unwrap_or("_OTHER"));
        })?;
        let added = added.unwrap_or_default();
        let new = added.iter().filter(|added| matches!(added, Some((_, true)))).count();
        self.accepted.inc_by(new as u64);
        Ok(added)
    }

    /// Runs the script; none if Redis is empty and no new order is to begin.
    async fn run(
        &self,
        jobs: &[NewJob],
        contexts: &[Option<TraceParent>],
        on_empty: OnEmpty,
    ) -> RedisResult<Option<Vec<Added>>> {
        let mut add = ADD.key(JOBS);
        add.key(SEQ).key(OFFSET);
        add.arg(self.max_length).arg(KEY_TTL.as_secs()).arg(on_empty as i32);
        for (NewJob { datum, key, .. }, context) in jobs.iter().zip(contexts) {
            let context = context.map(|context| context.to_string()).unwrap_or_default();
            add.arg(datum).arg(key.is_some()).arg(context);
            if let Some(key) = key {
                add.key(key);
            }
        }
        add.invoke_async(&mut self.redis.commands()).await
    }
}

/// What the script does where Redis is empty.
#[derive(Clone, Copy)]
enum OnEmpty {
    Refuse,
    /// Begins a new order.
    Begin,
}

/// The span of a script: part of the trace of the first recorded request, and linked to the others.
fn batch_span(jobs: &[NewJob], contexts: &[Option<TraceParent>]) -> Span {
    let mut recorded =
        jobs.iter().zip(contexts).filter_map(|(job, context)| Some((job, (*context)?)));
    let Some((first, _)) = recorded.next() else { return Span::none() };
    let span = first.span.in_scope(|| spans::operation("redis", "EVALSHA", None));
    if jobs.len() > 1 {
        span.record("db.operation.batch.size", jobs.len());
    }
    for (_, context) in recorded {
        context.add_link_to(&span);
    }
    span
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
