//! Writes many requests' items with one commit.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, mem, thread};

use common::ServiceContext;
use common::memory::{Budget, MemoryUse, Permit};
use common::telemetry::spans::{link, recorded};
use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::connection::Connection;
use crate::database::{Database, Operation, Transaction};
use crate::error::Error;
use crate::spans::{self, Commit};

/// Items that wait at most, however small they are; more are refused.
const QUEUE_CAPACITY: usize = 4096;

/// What an item takes of the memory budget beside its own bytes: its entry in the batch, who waits for it.
const ITEM_BYTES: usize = 256;

/// Items in one transaction at most.
const MAX_BATCH: usize = 256;

/// How long an item that nobody waits for is kept for others to come.
const FLUSH_INTERVAL: Duration = Duration::from_millis(500);

/// How the items of a batch are written.
pub struct Batch<I, O> {
    /// The name of the operation in metrics and spans.
    pub operation: &'static str,
    /// Where its statements run.
    pub execution: Execution,
    /// Writes them within a transaction, and returns something for each of the items, in their order.
    pub write: Write<I, O>,
}

type Write<I, O> = for<'a> fn(Connection<'a>, &'a [I]) -> BoxFuture<'a, sqlx::Result<Vec<O>>>;

/// Where the statements of a batch run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Execution {
    /// In the task of the batch's first request, which runs them for all: for few statements. A task of its own would
    /// be two more changes of thread for each batch.
    RequestTask,
    /// On the runtime of the service: for many statements. On SQLite each statement is a change of thread and back,
    /// which is slow where others wait for the same thread.
    ServiceRuntime,
    /// On SQLite's own thread, as one script that begins with `BEGIN IMMEDIATE` and ends with `COMMIT`. SQLite has a
    /// thread for each connection: so a batch goes there and back once, and not three times.
    Script,
}

/// What a [`Writer`] writes.
pub trait Item: Send + Sync + 'static {
    /// About how many bytes it holds beside itself.
    fn heap_bytes(&self) -> usize;
}

impl Item for String {
    fn heap_bytes(&self) -> usize {
        self.len()
    }
}

/// An item with what it is written by.
impl<I: Item, C: Send + Sync + 'static> Item for (I, C) {
    fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }
}

/// Writes items of many requests with one commit; clones share it.
///
/// While one batch is written, the items that come make up the next.
pub struct Writer<I, O> {
    shared: Arc<Shared<I, O>>,
    later: mpsc::Sender<(I, Permit)>,
}

impl<I, O> Clone for Writer<I, O> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), later: self.later.clone() }
    }
}

impl<I, O> fmt::Debug for Writer<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl<I: Item, O: Send + 'static> Writer<I, O> {
    /// A writer of such batches.
    #[must_use]
    pub fn start(database: &Database, context: &ServiceContext, batch: Batch<I, O>) -> Self {
        let (later, background) = mpsc::channel(QUEUE_CAPACITY);
        let shared = Arc::new(Shared {
            database: database.clone(),
            operation: database.operation(batch.operation),
            batch,
            capacity: Semaphore::new(QUEUE_CAPACITY),
            memory: context.memory.clone(),
            next: Mutex::default(),
            commit_permit: tokio::sync::Mutex::default(),
        });
        let (writers, task) = (&database.writers, Arc::clone(&shared));
        context.tasks.spawn_until(|stop| writers.track_future(task.write_later(background, stop)));
        Self { shared, later }
    }

    /// Writes an item; it is durable once this returns. It is written as well if this is dropped.
    ///
    /// # Errors
    /// When the database is unavailable, silent, full or slower than the items come, or refuses this item.
    pub async fn write(&self, item: I) -> Result<O, Error> {
        self.shared.database.check()?;
        let Ok(_queued) = self.shared.capacity.try_acquire() else {
            self.shared.database.metrics.refused.inc();
            return Err(Error::Overloaded);
        };
        let memory = self.shared.take_memory(&item)?;
        let span = spans::wait_for_batch(self.shared.operation.name);
        let (outcome, leader) = self.shared.join(item, Waiter { span: span.clone(), memory });
        match leader {
            // Dropped, it goes to the runtime.
            Some(leader) if self.shared.batch.execution == Execution::ServiceRuntime => {
                drop(leader);
            }
            Some(leader) => leader.await,
            None => {}
        }
        // Nobody writes the batch any more only where the service ends.
        let (outcome, commit) = outcome.await.unwrap_or((Err(Error::Overloaded), None));
        if let Some(commit) = commit {
            link(&span, commit);
        }
        if let Err(error) = &outcome {
            spans::fail(&span, error);
        }
        outcome
    }

    /// Writes an item soon, while nobody waits for it: at the latest with the stop of the service. If the
    /// database does not take it, it is dropped and counted.
    pub fn write_later(&self, item: I) {
        let memory = self.shared.take_memory(&item);
        if !memory.is_ok_and(|memory| self.later.try_send((item, memory)).is_ok()) {
            self.shared.database.metrics.lost.inc();
        }
    }
}

/// An item, and who waits for it.
type Entry<I, O> = (I, (Waiter, oneshot::Sender<(Result<O, Error>, Commit)>));

/// Who waits for an item: its span, and what the item takes of the memory budget.
struct Waiter {
    span: Span,
    memory: Permit,
}

/// The outcome of an item that is written with others.
type Outcome<O> = oneshot::Receiver<(Result<O, Error>, Commit)>;

/// What clones share.
struct Shared<I, O> {
    database: Database,
    operation: Operation,
    batch: Batch<I, O>,
    /// What is left of the queue's capacity.
    capacity: Semaphore,
    memory: Budget,
    /// The batch that items join.
    next: Mutex<Vec<Entry<I, O>>>,
    /// Batches are committed one after the other.
    commit_permit: tokio::sync::Mutex<()>,
}

impl<I: Item, O: Send + 'static> Shared<I, O> {
    fn take_memory(&self, item: &I) -> Result<Permit, Error> {
        let bytes = ITEM_BYTES + size_of::<I>() + item.heap_bytes();
        self.memory.take(MemoryUse::Queues, bytes).map_err(|_| Error::Overloaded)
    }

    /// Puts an item into the next batch; its first one comes back with the task of writing that.
    fn join(self: &Arc<Self>, item: I, waiter: Waiter) -> (Outcome<O>, Option<BatchLeader>) {
        let (done, outcome) = oneshot::channel();
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        next.push((item, (waiter, done)));
        let is_first = next.len() % MAX_BATCH == 1;
        let leader = is_first.then(|| BatchLeader {
            database: self.database.clone(),
            batch: Some(Box::pin(Arc::clone(self).write_next())),
        });
        (outcome, leader)
    }

    /// Writes a batch when it has the permit, and tells those who wait for it.
    async fn write_next(self: Arc<Self>) {
        let _permit = self.commit_permit.lock().await;
        let (items, waiting): (Vec<_>, Vec<_>) = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let size = next.len().min(MAX_BATCH);
            let rest = next.split_off(size);
            mem::replace(&mut *next, rest).into_iter().unzip()
        };
        let requests: Vec<_> =
            waiting.iter().map(|(waiter, _)| &waiter.span).filter(|span| !span.is_none()).collect();
        let first = requests.first().and_then(|span| span.id());
        let (outcomes, commit) = self.write(&items, &requests).await;
        for ((Waiter { span, memory }, done), outcome) in waiting.into_iter().zip(outcomes) {
            // The first one's span is the commit's parent.
            let commit = commit.clone().filter(|_| span.id() != first);
            drop(memory);
            // A client that has gone does not wait for it.
            let _ = done.send((outcome, commit));
        }
    }

    /// Writes what nobody waits for, until the stop of the service.
    async fn write_later(
        self: Arc<Self>,
        mut later: mpsc::Receiver<(I, Permit)>,
        stop: CancellationToken,
    ) {
        let mut received = Vec::new();
        while !later.is_closed() {
            let gather = async {
                later.recv_many(&mut received, 1).await;
                sleep(FLUSH_INTERVAL).await;
            };
            if stop.run_until_cancelled(gather).await.is_none() {
                // What is in there is still received.
                later.close();
            }
            while !received.is_empty() || !later.is_empty() {
                while received.len() < MAX_BATCH
                    && let Ok(item) = later.try_recv()
                {
                    received.push(item);
                }
                let (items, _memory): (Vec<_>, Vec<_>) = received.drain(..).unzip();
                let _permit = self.commit_permit.lock().await;
                let (outcomes, _) = self.write(&items, &[]).await;
                self.count_dropped(&outcomes);
            }
        }
    }

    /// Writes items with one commit, or each with its own if one of them is refused, which must not fail the others.
    async fn write(&self, items: &[I], requests: &[&Span]) -> (Vec<Result<O, Error>>, Commit) {
        let (name, target) = (self.operation.name, self.database.target.load());
        let span = target.batch(name, requests, items.len());
        let commit = recorded(&span);
        let outcomes = match self.commit(items, span).await {
            Err(Error::Refused(_)) if items.len() > 1 => {
                let mut outcomes = Vec::with_capacity(items.len());
                for item in items {
                    let span = target.batch(name, requests, 1);
                    let outcome = self.commit(std::slice::from_ref(item), span).await;
                    outcomes.push(outcome.map(|mut outputs| outputs.swap_remove(0)));
                }
                outcomes
            }
            Err(error) => items.iter().map(|_| Err(error.clone())).collect(),
            Ok(outputs) => outputs.into_iter().map(Ok).collect(),
        };
        (outcomes, commit)
    }

    async fn commit(&self, items: &[I], span: Span) -> Result<Vec<O>, Error> {
        let write = async |connection: Connection<'_>| (self.batch.write)(connection, items).await;
        let transaction = match self.batch.execution {
            Execution::Script => Transaction::Own,
            Execution::RequestTask | Execution::ServiceRuntime => Transaction::Begun,
        };
        let written = self.database.write_by(&self.operation, span, transaction, write).await?;
        let size = u32::try_from(items.len()).map_or(0.0, f64::from);
        self.database.metrics.batches.observe(size);
        Ok(written)
    }

    /// Counts what was not written and nobody waits for; no request's log line tells of it.
    fn count_dropped(&self, outcomes: &[Result<O, Error>]) {
        let mut errors = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).peekable();
        if let Some(error) = errors.peek().copied() {
            let rows = errors.count();
            self.database.metrics.lost.inc_by(rows as u64);
            tracing::warn!(rows, error = common::causes(error), "Dropped queued rows");
        }
    }
}

/// The task of writing a batch, which also others wait for: the runtime of the service takes it over from a request
/// that is dropped.
struct BatchLeader {
    database: Database,
    batch: Option<BoxFuture<'static, ()>>,
}

impl Future for BatchLeader {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(batch) = &mut self.batch else { return Poll::Ready(()) };
        let written = batch.as_mut().poll(cx);
        if written.is_ready() {
            self.batch = None;
        }
        written
    }
}

impl Drop for BatchLeader {
    fn drop(&mut self) {
        if let Some(batch) = self.batch.take()
            && !thread::panicking()
        {
            self.database.writers.spawn_on(batch, &self.database.runtime);
        }
    }
}
