//! Puts what many requests bring into few commands.

use common::ServiceContext;
use common::memory::{Budget, MemoryUse, Permit};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

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

/// Writes items of many requests in batches, a few of them at a time; clones share the task that does.
///
/// Each item gets its own outcome. Where a batch fails, so do all items that wait by then: they would wait as long for
/// the same error.
#[derive(Debug)]
pub struct Batcher<I, O, E> {
    queue: mpsc::Sender<Waiting<I, O, E>>,
    memory: Budget,
}

impl<I, O, E> Clone for Batcher<I, O, E> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), memory: self.memory.clone() }
    }
}

/// An item, and the request that waits for it.
#[derive(Debug)]
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
    /// Starts the task. `write` returns an outcome for each item, in their order.
    pub fn start<F>(
        context: &ServiceContext,
        limits: BatchLimits,
        write: impl Fn(Vec<I>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Vec<O>, E>> + Send + 'static,
    {
        let (queue, waiting) = mpsc::channel(limits.waiting);
        context.tasks.spawn_until(|stop| run(waiting, limits, write, stop));
        Self { queue, memory: context.memory.clone() }
    }

    /// Writes an item that holds about so many bytes beside itself. It is written as well if this is dropped.
    ///
    /// # Errors
    /// When there is no room for it, or its batch fails.
    pub async fn write(&self, item: I, bytes: usize) -> Result<O, BatchError<E>> {
        let (done, outcome) = oneshot::channel();
        let memory = self.memory.take(MemoryUse::Queues, size_of::<Waiting<I, O, E>>() + bytes);
        let memory = memory.map_err(|_| BatchError::Full)?;
        let waiting = Waiting { item, bytes, done, memory };
        self.queue.try_send(waiting).map_err(|_| BatchError::Full)?;
        // The task has ended only where the service stops.
        outcome.await.map_err(|_| BatchError::Full)?.map_err(BatchError::Failed)
    }
}

async fn run<I, O, E: Clone, F>(
    mut queue: mpsc::Receiver<Waiting<I, O, E>>,
    limits: BatchLimits,
    write: impl Fn(Vec<I>) -> F + Sync,
    stop: CancellationToken,
) where
    F: Future<Output = Result<Vec<O>, E>>,
{
    let mut in_flight = FuturesUnordered::new();
    loop {
        if stop.is_cancelled() {
            // What is in the channel is still received.
            queue.close();
        }
        let first = tokio::select! {
            biased;
            Some(failed) = in_flight.next() => {
                while let Some(error) = &failed && let Ok(waiting) = queue.try_recv() {
                    let _ = waiting.done.send(Err(E::clone(error)));
                }
                continue;
            }
            first = queue.recv(), if in_flight.len() < limits.in_flight => first,
            () = stop.cancelled(), if !queue.is_closed() => continue,
        };
        let Some(first) = first else { break };
        let (mut bytes, mut batch) = (first.bytes, vec![first]);
        while batch.len() < limits.items
            && bytes < limits.bytes
            && let Ok(next) = queue.try_recv()
        {
            bytes += next.bytes;
            batch.push(next);
        }
        in_flight.push(write_batch(batch, &write));
    }
    while in_flight.next().await.is_some() {}
}

/// Writes a batch and answers its requests; returns why it failed.
async fn write_batch<I, O, E: Clone, F>(
    batch: Vec<Waiting<I, O, E>>,
    write: &impl Fn(Vec<I>) -> F,
) -> Option<E>
where
    F: Future<Output = Result<Vec<O>, E>>,
{
    let waiting = batch.into_iter().map(|waiting| {
        let Waiting { item, done, memory, .. } = waiting;
        (item, (done, memory))
    });
    let (items, waiting): (Vec<_>, Vec<_>) = waiting.unzip();
    let (outcomes, failed): (Vec<_>, _) = match write(items).await {
        Ok(outcomes) => (outcomes.into_iter().map(Ok).collect(), None),
        Err(error) => (waiting.iter().map(|_| Err(error.clone())).collect(), Some(error)),
    };
    for ((done, _memory), outcome) in waiting.into_iter().zip(outcomes) {
        // A client that has gone does not wait for the answer.
        let _ = done.send(outcome);
    }
    failed
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
        let batcher = Batcher::start(&context, LIMITS, {
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
}
