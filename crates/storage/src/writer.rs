//! Writes many requests' items with one commit.

use std::fmt;
use std::time::Duration;

use common::Kit;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::connection::Connection;
use crate::database::{Database, Operation, Transaction};
use crate::error::Error;

/// Items that wait at most; more are refused.
const QUEUE: usize = 4096;

/// Items in one transaction at most.
const MAX_BATCH: usize = 256;

/// How long an item that nobody waits for is kept for the next batch.
const LATER: Duration = Duration::from_millis(500);

/// Writes a batch within a transaction, and returns something for each of its items, in their order.
pub type Batch<I, O> = for<'a> fn(Connection<'a>, &'a [I]) -> BoxFuture<'a, sqlx::Result<Vec<O>>>;

/// Writes items of many requests with one commit; clones share it.
pub struct Writer<I, O> {
    now: mpsc::Sender<Entry<I, O>>,
    later: mpsc::Sender<I>,
    database: Database,
}

struct Entry<I, O> {
    item: I,
    done: oneshot::Sender<Result<O, Error>>,
}

impl<I, O> Clone for Writer<I, O> {
    fn clone(&self) -> Self {
        Self { now: self.now.clone(), later: self.later.clone(), database: self.database.clone() }
    }
}

impl<I, O> fmt::Debug for Writer<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl<I: Send + Sync + 'static, O: Send + 'static> Writer<I, O> {
    /// Starts the task that writes, by `batch`; `operation` names that in metrics.
    #[must_use]
    pub fn start(
        database: &Database,
        kit: &Kit,
        operation: &'static str,
        batch: Batch<I, O>,
    ) -> Self {
        Self::start_by(database, kit, operation, Transaction::Begun, batch)
    }

    /// As [`start`](Self::start), for a batch that on SQLite is one text of statements, of which the first is
    /// `BEGIN IMMEDIATE` and the last is `COMMIT`. SQLite has a thread of its own for each connection: so a
    /// batch goes there and back once, and not three times.
    #[must_use]
    pub fn start_in_one_step(
        database: &Database,
        kit: &Kit,
        operation: &'static str,
        batch: Batch<I, O>,
    ) -> Self {
        Self::start_by(database, kit, operation, Transaction::Own, batch)
    }

    fn start_by(
        database: &Database,
        kit: &Kit,
        operation: &'static str,
        transaction: Transaction,
        batch: Batch<I, O>,
    ) -> Self {
        let (now, queue) = mpsc::channel(QUEUE);
        let (later, background) = mpsc::channel(QUEUE);
        let writing = Writing {
            database: database.clone(),
            operation: database.operation(operation),
            transaction,
            batch,
            queue,
            background,
        };
        let writers = &database.writers;
        kit.tasks.spawn_until(|stop| writers.track_future(writing.run(stop)));
        Self { now, later, database: database.clone() }
    }

    /// Writes an item; it is durable once this returns.
    ///
    /// # Errors
    /// When the database is away, silent, full or slower than the items come, or refuses this item.
    pub async fn write(&self, item: I) -> Result<O, Error> {
        self.database.check()?;
        let (done, outcome) = oneshot::channel();
        self.now.try_send(Entry { item, done }).map_err(|_| Error::Overloaded)?;
        // The task has gone only where the service ends.
        outcome.await.unwrap_or(Err(Error::Overloaded))
    }

    /// Writes an item soon, while nobody waits for it: at the latest with the stop of the service. If the
    /// database does not take it, it is lost and counted.
    pub fn write_later(&self, item: I) {
        if self.later.try_send(item).is_err() {
            self.database.metrics.lost.inc();
        }
    }
}

/// The task that writes.
struct Writing<I, O> {
    database: Database,
    operation: Operation,
    transaction: Transaction,
    batch: Batch<I, O>,
    queue: mpsc::Receiver<Entry<I, O>>,
    background: mpsc::Receiver<I>,
}

impl<I: Send + Sync + 'static, O: Send + 'static> Writing<I, O> {
    async fn run(mut self, stop: CancellationToken) {
        let mut tick = interval(LATER);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut entries = Vec::with_capacity(MAX_BATCH);
        loop {
            let stopping = tokio::select! {
                biased;
                received = self.queue.recv_many(&mut entries, MAX_BATCH) => received == 0,
                () = stop.cancelled(), if !self.queue.is_closed() => {
                    // What is in there is still received.
                    self.queue.close();
                    continue;
                }
                _ = tick.tick() => false,
            };
            self.write(&mut entries).await;
            if stopping {
                break;
            }
        }
        self.background.close();
        while !self.background.is_empty() {
            self.write(&mut entries).await;
        }
    }

    /// Writes these entries, and with them what has been waiting in the background.
    async fn write(&mut self, entries: &mut Vec<Entry<I, O>>) {
        let (mut items, mut waiting): (Vec<_>, Vec<_>) =
            entries.drain(..).map(|Entry { item, done }| (item, done)).unzip();
        while items.len() < MAX_BATCH
            && let Ok(item) = self.background.try_recv()
        {
            items.push(item);
        }
        if items.is_empty() {
            return;
        }
        match self.commit(&items).await {
            Ok(outputs) => {
                self.database
                    .metrics
                    .batches
                    .observe(u32::try_from(items.len()).map_or(0.0, f64::from));
                for (done, output) in waiting.drain(..).zip(outputs) {
                    // A client that has gone does not wait for it.
                    let _ = done.send(Ok(output));
                }
            }
            Err(Error::Refused(_)) if items.len() > 1 => self.write_each(items, waiting).await,
            Err(error) => {
                self.lose(items.len() - waiting.len(), &error);
                for done in waiting {
                    let _ = done.send(Err(error.clone()));
                }
            }
        }
    }

    /// One refused item must not fail the others.
    async fn write_each(&self, items: Vec<I>, waiting: Vec<oneshot::Sender<Result<O, Error>>>) {
        let mut waiting = waiting.into_iter();
        for item in items {
            let outcome = self.commit(std::slice::from_ref(&item)).await;
            if outcome.is_ok() {
                self.database.metrics.batches.observe(1.0);
            }
            match (waiting.next(), outcome) {
                (Some(done), outcome) => {
                    drop(done.send(outcome.map(|mut outputs| outputs.swap_remove(0))));
                }
                (None, Err(error)) => self.lose(1, &error),
                (None, Ok(_)) => {}
            }
        }
    }

    /// Counts rows that nobody waits for; no request's log line tells of them.
    fn lose(&self, rows: usize, error: &Error) {
        if rows > 0 {
            self.database.metrics.lost.inc_by(rows as u64);
            tracing::warn!(rows, error = common::causes(error), "Rows are lost");
        }
    }

    async fn commit(&self, items: &[I]) -> Result<Vec<O>, Error> {
        self.database
            .write_by(&self.operation, self.transaction, async |connection| {
                (self.batch)(connection, items).await
            })
            .await
    }
}
