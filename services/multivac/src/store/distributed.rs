//! Jobs in Redis, data in MongoDB.

mod dead_letters;
mod entropy;
mod entry;
mod keys;
mod order;
mod producer;
mod queue;

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use common::ServiceContext;
use common::config::Secret;
use common::secrets::Refusal;
use faults::Faults;
use faults::Store::{Database, Mongodb, Redis};
use nosql::Watch;
use nosql::redis::Connections;
use server::StartError;
use tokio::sync::Mutex;
use tracing::Instrument as _;

use super::interface::{DeadLetter, Job, QueueState, Store};
use crate::config::Config;
use crate::error::Error;
use crate::metrics::JobMetrics;
use entropy::Entropy;
use entry::Entry;
use keys::WRITE_CHECK;
use order::Order;
use producer::{JobStream, Producer};
use queue::{DEAD_LETTER_QUEUE, JobQueue, QUEUE};

/// The queue and the store, for any number of servers and workers.
pub(crate) struct Distributed {
    redis: Connections,
    producer: Producer,
    queue: JobQueue,
    order: Order,
    entropy: Entropy,
    /// Jobs that this process has taken from the queue and that are not known to be stored.
    in_flight: Mutex<Vec<Entry>>,
    metrics: JobMetrics,
    /// What is to be done on purpose.
    faults: Faults,
}

impl Distributed {
    /// Connects when it is first needed.
    ///
    /// # Errors
    /// When a URL cannot be used.
    pub(crate) fn open(
        (redis_url, mongo_url): (&Secret, &Secret),
        config: &Config,
        context: &ServiceContext,
        metrics: JobMetrics,
    ) -> Result<Arc<Self>, StartError> {
        let redis = Connections::open(redis_url.expose(), WRITE_CHECK)
            .map_err(|error| StartError::Other(error.into()))?;
        let entropy = Entropy::open(mongo_url.expose(), config);
        let order = Order::new(redis.clone(), entropy.clone());
        let stream = JobStream {
            redis: redis.clone(),
            order: order.clone(),
            max_length: config.jobs.queue_max_length,
            accepted: metrics.accepted.clone(),
        };
        let store = Arc::new(Self {
            producer: Producer::start(context, stream),
            queue: JobQueue::new(redis.clone(), config.jobs),
            redis,
            order,
            entropy,
            in_flight: Mutex::default(),
            metrics,
            faults: context.faults.clone(),
        });
        let (switch, check) = (Self::switch_redis, Self::check_redis);
        Watch { name: "redis", url: redis_url, switch, check }.start(context, &store);
        let (switch, check) = (Self::switch_mongodb, Self::check_mongodb);
        Watch { name: "mongodb", url: mongo_url, switch, check }.start(context, &store);
        Ok(store)
    }

    async fn switch_redis(self: Arc<Self>, url: Secret) -> Result<(), Refusal> {
        self.redis.switch_to(url.expose(), self.holds_jobs()).await?;
        self.order.invalidate();
        Ok(())
    }

    async fn check_redis(self: Arc<Self>) -> Result<(), Error> {
        self.reach(Redis).await?;
        Ok(self.redis.check().await.inspect_err(|_| self.order.invalidate())?)
    }

    async fn switch_mongodb(self: Arc<Self>, url: Secret) -> Result<(), Refusal> {
        self.entropy.collection.switch_to(url.expose(), self.holds_data()).await?;
        self.order.invalidate();
        Ok(())
    }

    async fn check_mongodb(self: Arc<Self>) -> Result<(), Error> {
        self.reach(Mongodb).await?;
        Ok(self.entropy.collection.check().await?)
    }

    /// Waits, or fails, where a rule says so of Redis or MongoDB.
    async fn reach(&self, store: faults::Store) -> Result<(), Error> {
        self.faults.reach(store).await.map_err(|outage| match store {
            Mongodb => Error::Store(mongodb::error::Error::custom(outage).into()),
            // There is no database here to ask for.
            Redis | Database => Error::NotQueued(io::Error::other(outage).into()),
        })
    }

    /// Whether jobs wait, or are dead letters, in Redis.
    async fn holds_jobs(&self) -> Result<bool, Error> {
        let in_flight = !self.in_flight.lock().await.is_empty();
        let QueueState { length, dead_letters, .. } = self.queue.state().await?;
        Ok(in_flight || length + dead_letters > 0)
    }

    /// Whether there are jobs, or data in MongoDB.
    async fn holds_data(&self) -> Result<bool, Error> {
        Ok(self.holds_jobs().await? || self.entropy.count().await? > 0)
    }

    /// Stores what is in flight, or else the next jobs.
    async fn store_batch(&self, in_flight: &mut Vec<Entry>) -> Result<(), Error> {
        // After a failure they are still there, and no others are taken.
        if in_flight.is_empty() {
            let (jobs, others) = self.queue.take().await?;
            *in_flight = jobs;
            for entry in others {
                if self.queue.reject(&entry).await? {
                    self.metrics.count_dead_letter(&entry.stream_id, entry.reason);
                }
            }
        }
        if !in_flight.is_empty() {
            let offset = self.order.offset().await?;
            let span = QUEUE.process(in_flight.iter().map(|job| job.traceparent.as_deref()));
            self.store(in_flight, offset).instrument(span).await?;
            in_flight.clear();
        }
        Ok(())
    }

    /// Stores the data of jobs, and takes these out of the queue.
    async fn store(&self, jobs: &[Entry], offset: i64) -> Result<(), Error> {
        let outcome = self.entropy.insert(jobs, offset).await?;
        let refused = |at: &usize| outcome.refused.iter().any(|(index, _)| index == at);
        let (stored, repeated) = (jobs.len() - outcome.refused.len(), outcome.repeated);
        self.metrics.stored.inc_by((stored - repeated) as u64);
        self.metrics.repeated.inc_by(repeated as u64);
        let stored = jobs.iter().enumerate().filter(|(at, _)| !refused(at)).map(|(_, job)| job);
        for waited in self.queue.acknowledge(stored).await? {
            self.metrics.storage_duration.observe(waited.as_secs_f64());
        }
        for (index, reason) in &outcome.refused {
            let job = &jobs[*index];
            self.metrics.refused.inc();
            if self.queue.refuse(job, reason).await? {
                DEAD_LETTER_QUEUE.sent_dead_letter(&job.id, job.traceparent.as_deref());
                self.metrics.count_dead_letter(&job.id, reason);
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Store for Distributed {
    async fn add(&self, datum: &str, key: Option<&str>) -> Result<String, Error> {
        self.reach(Redis).await?;
        self.producer.add(datum, key).await
    }

    async fn oldest(&self) -> Result<Option<String>, Error> {
        self.reach(Mongodb).await?;
        Ok(self.entropy.oldest().await?)
    }

    async fn delete_oldest(&self) -> Result<bool, Error> {
        self.reach(Mongodb).await?;
        Ok(self.entropy.delete_oldest().await?)
    }

    async fn job(&self, id: &str) -> Result<Option<Job>, Error> {
        self.reach(Mongodb).await?;
        self.reach(Redis).await?;
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

    async fn queue(&self) -> Result<QueueState, Error> {
        self.reach(Redis).await?;
        self.queue.state().await
    }

    async fn queue_and_stored(&self) -> Result<(QueueState, u64), Error> {
        tokio::try_join!(self.reach(Redis), self.reach(Mongodb))?;
        let stored = async { Ok(self.entropy.count().await?) };
        tokio::try_join!(self.queue.state(), stored)
    }

    async fn store_next(&self) -> Result<(), Error> {
        tokio::try_join!(self.reach(Redis), self.reach(Mongodb))?;
        let mut in_flight = self.in_flight.lock().await;
        let stored = self.store_batch(&mut in_flight).await;
        if stored.is_err() {
            self.order.invalidate();
        }
        stored
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        dead_letters::list(&self.redis, limit).await
    }

    async fn retry(&self, id: Option<&str>) -> Result<u64, Error> {
        dead_letters::retry(&self.redis, id).await
    }
}
