//! Adds jobs to the queue, those of many requests in one step.

use std::sync::LazyLock;

use common::ServiceContext;
use common::context::TraceParent;
use common::memory::{Budget, MemoryUse, Permit};
use common::telemetry::spans::fail;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use nosql::redis::Connections;
use prometheus_client::metrics::counter::Counter;
use redis::{RedisError, RedisResult, Script};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use super::keys::{IDEMPOTENCY_KEY, JOBS, OFFSET, SEQ};
use super::order::Order;
use super::queue::QUEUE;
use crate::config::JobsConfig;
use crate::error::Error;
use crate::spans;
use crate::store::interface::KEY_TTL;

/// Jobs that wait to be added at most; more are refused.
const CAPACITY: usize = 4096;

/// Jobs that one script adds at most: Redis does nothing else meanwhile.
const BATCH: usize = 256;

/// The size of data, in bytes, from which on a script takes no further job.
const BATCH_BYTES: usize = 1 << 20;

/// Scripts in flight at most: while Redis writes the jobs of one to its disk, the next ones gather.
const MAX_IN_FLIGHT: usize = 4;

static ADD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("add.lua")));

/// A job's id and whether the job is new; none if the queue is full.
type Added = Option<(String, bool)>;

/// Adds jobs to the stream; clones share the task that does.
#[derive(Clone)]
pub(super) struct Adder {
    waiting: mpsc::Sender<Waiting>,
    memory: Budget,
}

/// The error codes of a Redis that has refused a script before its first write.
const REFUSALS: [&str; 10] = [
    "READONLY",
    "LOADING",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "MISCONF",
    "NOREPLICAS",
    "BUSY",
    "NOAUTH",
    "WRONGPASS",
    "MOVED",
];

/// A job, and the request that waits for it.
struct Waiting {
    datum: String,
    key: Option<String>,
    /// The span of the request that waits for it.
    span: Span,
    done: oneshot::Sender<RedisResult<Added>>,
    /// What it takes of the memory budget.
    _memory: Permit,
}

impl Adder {
    pub(super) fn start(
        redis: Connections,
        order: Order,
        config: &JobsConfig,
        (context, accepted): (&ServiceContext, Counter),
    ) -> Self {
        let (sender, waiting) = mpsc::channel(CAPACITY);
        let batches = Batches { redis, order, max_length: config.queue_max_length, accepted };
        let adding = Adding { batches, waiting };
        context.tasks.spawn_until(|stop| adding.run(stop));
        Self { waiting: sender, memory: context.memory.clone() }
    }

    /// Adds a job; returns its id, or that of the job that has the same idempotency key.
    pub(super) async fn add(&self, datum: &str, key: Option<&str>) -> Result<String, Error> {
        let (done, outcome) = oneshot::channel();
        let span = QUEUE.send();
        let (datum, key) = (datum.to_owned(), key.map(|key| format!("{IDEMPOTENCY_KEY}{key}")));
        let taken = self.memory.take(MemoryUse::Queues, size_of::<Waiting>() + datum.len());
        let memory = taken.map_err(|_| Error::QueueFull)?;
        self.waiting
            .try_send(Waiting { datum, key, span: span.clone(), done, _memory: memory })
            .map_err(|_| Error::QueueFull)?;
        // The task has ended only where the service stops.
        match outcome.await {
            Ok(Ok(Some((id, _)))) => {
                span.record("messaging.message.id", &id);
                Ok(id)
            }
            Ok(Err(error)) => {
                fail(&span, error.code().unwrap_or("_OTHER"));
                Err(not_added(error))
            }
            Ok(Ok(None)) | Err(_) => {
                fail(&span, "queue_full");
                Err(Error::QueueFull)
            }
        }
    }
}

/// The task that adds jobs.
struct Adding {
    batches: Batches,
    waiting: mpsc::Receiver<Waiting>,
}

impl Adding {
    async fn run(mut self, stop: CancellationToken) {
        let mut in_flight = FuturesUnordered::new();
        loop {
            if stop.is_cancelled() {
                // What is in the channel is still received.
                self.waiting.close();
            }
            let first = tokio::select! {
                biased;
                Some(failed) = in_flight.next() => {
                    // Those that have come meanwhile would wait as long for the same error.
                    while let Some(error) = &failed && let Ok(waiting) = self.waiting.try_recv() {
                        let _ = waiting.done.send(Err(RedisError::clone(error)));
                    }
                    continue;
                }
                first = self.waiting.recv(), if in_flight.len() < MAX_IN_FLIGHT => first,
                () = stop.cancelled(), if !self.waiting.is_closed() => continue,
            };
            let Some(first) = first else { break };
            let (mut bytes, mut batch) = (first.datum.len(), vec![first]);
            while batch.len() < BATCH
                && bytes < BATCH_BYTES
                && let Ok(next) = self.waiting.try_recv()
            {
                bytes += next.datum.len();
                batch.push(next);
            }
            in_flight.push(self.batches.clone().add(batch));
        }
        while in_flight.next().await.is_some() {}
    }
}

/// Adds batches; clones share its connections.
#[derive(Clone)]
struct Batches {
    redis: Connections,
    order: Order,
    max_length: u64,
    accepted: Counter,
}

impl Batches {
    /// Adds a batch and answers its requests; returns why it failed.
    async fn add(self, batch: Vec<Waiting>) -> Option<RedisError> {
        let contexts: Vec<_> =
            batch.iter().map(|waiting| waiting.span.in_scope(TraceParent::current)).collect();
        let span = batch_span(&batch, &contexts);
        let redis = self.redis.clone();
        let _held = redis.hold_server().await;
        let mut added = match self.order.prepare().await {
            Ok(()) => self.run(&batch, &contexts, false).instrument(span.clone()).await,
            Err(error) => Err(error),
        };
        if matches!(added, Ok(None)) {
            // Redis is empty. While the store cannot be reached, the worker finds the position of these jobs.
            let _ = self.order.verify().await;
            added = self.run(&batch, &contexts, true).instrument(span.clone()).await;
        }
        if added.is_err() {
            self.order.invalidate();
        }
        let (outcomes, failed): (Vec<_>, _) = match added {
            Ok(added) => (added.unwrap_or_default().into_iter().map(Ok).collect(), None),
            Err(error) => {
                fail(&span, error.code().unwrap_or("_OTHER"));
                (vec![Err(error.clone()); batch.len()], Some(error))
            }
        };
        for (waiting, outcome) in batch.into_iter().zip(outcomes) {
            self.accepted.inc_by(u64::from(matches!(outcome, Ok(Some((_, true))))));
            // A client that has gone does not wait for the answer.
            let _ = waiting.done.send(outcome);
        }
        failed
    }

    /// Runs the script; none if Redis is empty and no new order is to begin.
    async fn run(
        &self,
        batch: &[Waiting],
        contexts: &[Option<TraceParent>],
        begins: bool,
    ) -> RedisResult<Option<Vec<Added>>> {
        let mut add = ADD.key(JOBS);
        add.key(SEQ).key(OFFSET);
        add.arg(self.max_length).arg(KEY_TTL.as_secs()).arg(i32::from(begins));
        for (Waiting { datum, key, .. }, context) in batch.iter().zip(contexts) {
            let context = context.map(|context| context.to_string()).unwrap_or_default();
            add.arg(datum).arg(key.is_some()).arg(context);
            if let Some(key) = key {
                add.key(key);
            }
        }
        add.invoke_async(&mut self.redis.commands()).await
    }
}

/// The span of a script: part of the trace of the first recorded request, and linked to the others.
fn batch_span(batch: &[Waiting], contexts: &[Option<TraceParent>]) -> Span {
    let mut recorded =
        batch.iter().zip(contexts).filter_map(|(waiting, context)| Some((waiting, (*context)?)));
    let Some((first, _)) = recorded.next() else { return Span::none() };
    let span = first.span.in_scope(|| spans::operation("redis", "EVALSHA", None));
    if batch.len() > 1 {
        span.record("db.operation.batch.size", batch.len());
    }
    for (_, context) in recorded {
        context.add_link_to(&span);
    }
    span
}

/// What an error says of the jobs that were to be added.
fn not_added(error: RedisError) -> Error {
    match error.code() {
        Some("OOM") => Error::QueueFull,
        Some(code) if REFUSALS.contains(&code) => Error::NotQueued(error),
        _ if error.is_connection_refusal() => Error::NotQueued(error),
        _ => Error::Queue(error),
    }
}
