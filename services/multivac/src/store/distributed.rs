//! Jobs in Redis, data in MongoDB.

mod adder;
mod entropy;
mod queue;

use std::sync::Arc;

use async_trait::async_trait;
use common::ServiceContext;
use server::StartError;
use tokio::sync::Mutex;

use super::{DeadLetter, Job, Queue, Store};
use crate::config::Config;
use crate::error::Error;
use crate::metrics::JobMetrics;
use adder::Adder;
use entropy::Entropy;
use queue::{Entry, JobQueue};

/// The stores, for any number of servers and workers.
pub(super) struct Distributed {
    queue: JobQueue,
    adder: Adder,
    entropy: Entropy,
    /// What this process has taken from the queue and not yet seen stored.
    in_hand: Mutex<Vec<Entry>>,
    metrics: JobMetrics,
}

impl Distributed {
    /// Connects when it is first needed.
    ///
    /// # Errors
    /// When a URL cannot be used.
    pub(super) fn open(
        redis_url: &str,
        mongo_url: &str,
        config: &Config,
        context: &ServiceContext,
        metrics: JobMetrics,
    ) -> Result<Arc<Self>, StartError> {
        let queue = JobQueue::open(redis_url, &config.jobs)
            .map_err(|error| StartError::Other(error.into()))?;
        let (longest, accepted) = (config.jobs.queue_max_length, metrics.accepted.clone());
        let store = Arc::new(Self {
            adder: Adder::start(queue.shared(), context, longest, accepted),
            queue,
            entropy: Entropy::open(mongo_url, config),
            in_hand: Mutex::default(),
            metrics,
        });
        let queue = store.queue.clone();
        context.readiness.check(&context.tasks, "redis", move || {
            let queue = queue.clone();
            async move { Ok(queue.check().await?) }
        });
        let entropy = store.entropy.clone();
        context.readiness.check(&context.tasks, "mongodb", move || {
            let entropy = entropy.clone();
            async move { Ok(entropy.check().await?) }
        });
        Ok(store)
    }

    /// Stores what is in hand and takes it out of the queue.
    async fn store(&self, jobs: &[Entry]) -> Result<(), Error> {
        let outcome = self.entropy.insert(jobs).await?;
        let refused = |at: &usize| outcome.refused.iter().any(|(index, _)| index == at);
        let (settled, repeated) = (jobs.len() - outcome.refused.len(), outcome.repeated);
        self.metrics.stored.inc_by((settled - repeated) as u64);
        self.metrics.repeated.inc_by(repeated as u64);
        let settled = jobs.iter().enumerate().filter(|(at, _)| !refused(at)).map(|(_, job)| job);
        for waited in self.queue.settle(settled).await? {
            self.metrics.storage_duration.observe(waited.as_secs_f64());
        }
        for (index, reason) in &outcome.refused {
            let job = &jobs[*index];
            self.metrics.refused.inc();
            if self.queue.refuse(job, reason).await? {
                self.metrics.dead.inc();
                tracing::error!(job.id = job.id, error = reason, "A job became a dead letter");
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Store for Distributed {
    async fn accept(&self, datum: &str, key: Option<&str>) -> Result<String, Error> {
        self.adder.add(datum, key).await
    }

    async fn oldest(&self) -> Result<Option<String>, Error> {
        self.entropy.oldest().await
    }

    async fn delete_oldest(&self) -> Result<bool, Error> {
        self.entropy.delete_oldest().await
    }

    async fn job(&self, id: &str) -> Result<Option<Job>, Error> {
        let stored = |status| Some(Job { status, attempts: 0 });
        if let Some(status) = self.entropy.status(id).await? {
            return Ok(stored(status));
        }
        if let Some(job) = self.queue.job(id).await? {
            return Ok(Some(job));
        }
        // It may have been stored in between.
        Ok(self.entropy.status(id).await?.and_then(stored))
    }

    async fn queue(&self) -> Result<Queue, Error> {
        self.queue.look().await
    }

    async fn queue_and_stored(&self) -> Result<(Queue, u64), Error> {
        tokio::try_join!(self.queue.look(), self.entropy.count())
    }

    async fn work(&self) -> Result<(), Error> {
        // After a failure they are still there, and no others are taken.
        let mut in_hand = self.in_hand.lock().await;
        if in_hand.is_empty() {
            *in_hand = self.queue.take().await?;
        }
        if !in_hand.is_empty() {
            self.store(&in_hand).await?;
            in_hand.clear();
        }
        Ok(())
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        self.queue.dead_letters(limit).await
    }

    async fn retry(&self, id: Option<&str>) -> Result<u64, Error> {
        self.queue.retry(id).await
    }
}
