//! Puts what many requests bring into few commands.

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::memory::{Budget, MemoryUse, Permit};
use common::{ServiceContext, Tasks};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

/// How large queue and batches may become.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    /// Items that wait at most; more are refused.
    pub waiting: usize,
    /// Items of a batch at most.
    pub items: usize,
    /// The size of items, in bytes, from which on a batch takes no further one.
    pub bytes: usize,
    /// Batches in flight at most: while one is written, the next items gather.
    pub in_flight: usize,
}

/// Why an item was not written.
#[derive(Debug)]
pub enum BatchError<E> {
    /// As much waits as may, or the service stops.
    Full,
    /// Its batch failed.
    Failed(E),
}

/// Writes items of many requests in batches, a few of them at a time; clones share it.
///
/// The first item of a batch starts the task that writes it, on the runtime of its own request: with a connection
/// that this runtime drives, nothing is handed from thread to thread. What else this runtime has to do goes first, so
/// that the requests that have come with the first one join its batch.
///
/// Each item gets its own outcome. Where a batch fails, so do all items that wait by then: they would wait as long for
/// the same error.
pub struct Batcher<I, O, E>(Arc<Shared<I, O, E>>);

impl<I, O, E> Clone for Batcher<I, O, E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I, O, E> fmt::Debug for Batcher<I, O, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batcher").field("limits", &self.0.limits).finish_non_exhaustive()
    }
}

/// What clones share.
struct Shared<I, O, E> {
    limits: BatchLimits,
    tasks: Tasks,
    memory: Budget,
    write: Write<I, O, E>,
    state: Mutex<State<I, O, E>>,
}

/// Returns an outcome for each item, in their order.
type Write<I, O, E> = Box<dyn Fn(Vec<I>) -> BoxFuture<'static, Result<Vec<O>, E>> + Send + Sync>;

struct State<I, O, E> {
    waiting: VecDeque<Waiting<I, O, E>>,
    /// Whether a task is about to take the items that wait.
    is_taken_soon: bool,
    /// Batches that are being written.
    in_flight: usize,
}

/// An item, and the request that waits for it.
struct Waiting<I, O, E> {
    item: I,
    bytes: usize,
    done: oneshot::Sender<Result<O, E>>,
    /// What it takes of the memory budget.
    memory: Permit,
}

impl<I, O, E> Batcher<I, O, E>
where
    I: Send + 'static,
    O: Send + 'static,
    E: Clone + Send + 'static,
{
    /// One that writes by `write`, which returns an outcome for each item, in their order.
    pub fn new<F>(
        context: &ServiceContext,
        limits: BatchLimits,
        write: impl Fn(Vec<I>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Vec<O>, E>> + Send + 'static,
    {
        Self(Arc::new(Shared {
            limits,
            tasks: context.tasks.clone(),
            memory: context.memory.clone(),
            write: Box::new(move |items| write(items).boxed()),
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                is_taken_soon: false,
                in_flight: 0,
            }),
        }))
    }

    /// Writes an item that holds about so many bytes beside itself. It is written as well if this is dropped.
    ///
    /// # Errors
    /// When there is no room for it, or its batch fails.
    pub async fn write(&self, item: I, bytes: usize) -> Result<O, BatchError<E>> {
        let (done, outcome) = oneshot::channel();
        let size = size_of::<Waiting<I, O, E>>() + bytes;
        let memory = self.0.memory.take(MemoryUse::Queues, size).map_err(|_| BatchError::Full)?;
        if let Some(writer) = Shared::join(&self.0, Waiting { item, bytes, done, memory })? {
            self.0.tasks.spawn_until(|_| writer.run());
        }
        // The task is dropped only where its runtime ends.
        outcome.await.map_err(|_| BatchError::Full)?.map_err(BatchError::Failed)
    }
}

impl<I, O, E> Shared<I, O, E> {
    fn state(&self) -> MutexGuard<'_, State<I, O, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has an item wait; returns the writer that it needs.
    fn join(
        self: &Arc<Self>,
        waiting: Waiting<I, O, E>,
    ) -> Result<Option<BatchWriter<I, O, E>>, BatchError<E>> {
        let mut state = self.state();
        if state.waiting.len() >= self.limits.waiting {
            return Err(BatchError::Full);
        }
        state.waiting.push_back(waiting);
        if state.is_taken_soon || state.in_flight >= self.limits.in_flight {
            return Ok(None);
        }
        state.is_taken_soon = true;
        Ok(Some(BatchWriter { shared: Arc::clone(self), stage: Stage::TakesSoon }))
    }
}

/// Writes batches until nothing waits.
struct BatchWriter<I, O, E> {
    shared: Arc<Shared<I, O, E>>,
    stage: Stage,
}

/// What a writer is counted as.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    TakesSoon,
    InFlight,
    Done,
}

impl<I, O, E: Clone> BatchWriter<I, O, E> {
    async fn run(mut self) {
        while let Some(batch) = self.take() {
            let (mut items, mut waiting) = (Vec::new(), Vec::new());
            for Waiting { item, done, memory, .. } in batch {
                items.push(item);
                waiting.push((done, memory));
            }
            match (self.shared.write)(items).await {
                Ok(outcomes) => {
                    for ((done, _memory), outcome) in waiting.into_iter().zip(outcomes) {
                        // A client that has gone does not wait for the answer.
                        let _ = done.send(Ok(outcome));
                    }
                }
                Err(error) => {
                    let later = mem::take(&mut self.shared.state().waiting);
                    let later =
                        later.into_iter().map(|Waiting { done, memory, .. }| (done, memory));
                    for (done, _memory) in waiting.into_iter().chain(later) {
                        let _ = done.send(Err(error.clone()));
                    }
                }
            }
        }
    }
}

impl<I, O, E> BatchWriter<I, O, E> {
    /// The next batch, none if nothing waits.
    fn take(&mut self) -> Option<Vec<Waiting<I, O, E>>> {
        let mut state = self.shared.state();
        let limits = self.shared.limits;
        let (mut bytes, mut batch) = (0, Vec::new());
        while batch.len() < limits.items
            && bytes < limits.bytes
            && let Some(item) = state.waiting.pop_front()
        {
            bytes += item.bytes;
            batch.push(item);
        }
        let next = if batch.is_empty() { Stage::Done } else { Stage::InFlight };
        state.count(self.stage, next);
        drop(state);
        self.stage = next;
        (next == Stage::InFlight).then_some(batch)
    }
}

impl<I, O, E> State<I, O, E> {
    /// Counts a writer in its next stage.
    fn count(&mut self, before: Stage, after: Stage) {
        for (stage, change) in [(before, -1), (after, 1)] {
            match stage {
                Stage::TakesSoon => self.is_taken_soon = change > 0,
                Stage::InFlight => self.in_flight = self.in_flight.saturating_add_signed(change),
                Stage::Done => {}
            }
        }
    }
}

impl<I, O, E> Drop for BatchWriter<I, O, E> {
    /// A writer may be dropped half-way, with its runtime: then the next item gets another one.
    fn drop(&mut self) {
        self.shared.state().count(self.stage, Stage::Done);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use common::Service;
    use common::memory::MemoryLimit;
    use tokio::sync::Semaphore;
    use tokio::task::yield_now;

    use super::*;

    const SERVICE: Service = common::service!(port: 0);
    const LIMITS: BatchLimits = BatchLimits { waiting: 3, items: 2, bytes: 100, in_flight: 1 };

    #[expect(clippy::disallowed_methods, reason = "the test waits for all that it spawns")]
    #[tokio::test]
    async fn items_gather_while_a_batch_is_written_and_fail_with_the_one_before() {
        let context = ServiceContext::new(&SERVICE, MemoryLimit::NONE);
        let (gate, begun) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
        let batcher = Batcher::new(&context, LIMITS, {
            let (gate, begun) = (Arc::clone(&gate), Arc::clone(&begun));
            move |items: Vec<u32>| {
                begun.lock().unwrap().push(items.clone());
                let gate = Arc::clone(&gate);
                async move {
                    gate.acquire().await.unwrap().forget();
                    if items.contains(&9) { Err("refused") } else { Ok(items) }
                }
            }
        });
        let write = |item| {
            let batcher = batcher.clone();
            tokio::spawn(async move { batcher.write(item, 1).await })
        };

        let first = write(1);
        while begun.lock().unwrap().is_empty() {
            yield_now().await;
        }
        let waiting = [write(9), write(3), write(4)];
        yield_now().await;
        assert!(matches!(batcher.write(5, 1).await, Err(BatchError::Full)));
        gate.add_permits(2);

        assert_eq!(first.await.unwrap().unwrap(), 1);
        for failed in waiting {
            assert!(matches!(failed.await.unwrap(), Err(BatchError::Failed("refused"))));
        }
        assert_eq!(*begun.lock().unwrap(), [vec![1], vec![9, 3]]);
        context.tasks.stop().await;
    }

    #[test]
    fn the_next_item_gets_another_writer_where_one_was_dropped_with_its_runtime() {
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (of_a_worker, of_another) = (runtime(), runtime());
        let context = ServiceContext::new(&SERVICE, MemoryLimit::NONE);
        let begun = Arc::new(Semaphore::new(0));
        let batcher = Batcher::new(&context, LIMITS, {
            let begun = Arc::clone(&begun);
            move |items: Vec<u32>| {
                begun.add_permits(1);
                async move {
                    if items.contains(&9) {
                        std::future::pending::<()>().await;
                    }
                    Ok::<_, &str>(items)
                }
            }
        });
        of_a_worker.block_on(async {
            tokio::select! {
                _ = batcher.write(9, 1) => unreachable!("it is never written"),
                begun = begun.acquire() => begun.unwrap().forget(),
            }
        });

        drop(of_a_worker);

        assert_eq!(of_another.block_on(batcher.write(3, 1)).unwrap(), 3);
    }
}
