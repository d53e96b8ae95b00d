//! Jobs from the request that brings them to their storage: how many a second, and how long each takes.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::{join_all, try_join};
use mongodb::{
    Client, Collection,
    bson::{Document, doc},
    options::{Acknowledgment, ClientOptions, CollectionOptions, WriteConcern},
};
use redis::{
    AsyncCommands as _,
    aio::MultiplexedConnection,
    streams::{StreamReadOptions, StreamReadReply},
};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::queue::connect;
use crate::environment::{Environment, Stores};
use crate::load::{self, MANY_CONNECTIONS};
use crate::metrics::sum_of_series;
use crate::report::Row;
use crate::request::Request;
use crate::samples::Samples;
use crate::server::Server;

/// How long what was accepted may take to be stored.
const TIMEOUT: Duration = Duration::from_mins(1);

/// How often it is asked how many are stored.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// The stream in which the service's jobs wait.
const JOBS: &str = "{multivac}:jobs";

/// The name of the bare loop's stream, group, consumer and collection.
const BARE: &str = "bare";

/// How many jobs the bare loop takes at once.
const BATCH: usize = 256;

/// Jobs from acceptance to storage.
pub(crate) struct Jobs {
    /// A request that queues a job.
    pub(crate) request: Request,
    /// Fewest jobs accepted and stored a second.
    pub(crate) rate: Option<f64>,
    /// For stores beside the service, which may be much slower than its requests. Without it a round has as many jobs as
    /// are accepted in its time.
    pub(crate) bare: Option<BesideBareLoop>,
    pub(crate) within: Within,
}

/// The bare loop that the service is put beside.
pub(crate) struct BesideBareLoop {
    /// Fewest jobs a second as a share of those of the loop.
    pub(crate) ratio: f64,
    /// How many jobs a round has.
    pub(crate) round: u32,
}

/// How soon which share of the jobs has to be stored, at half of the throughput.
pub(crate) struct Within {
    /// A bound of the service's histogram, in seconds.
    pub(crate) seconds: &'static str,
    pub(crate) share: f64,
}

/// What has become of jobs so far.
#[derive(Clone, Copy)]
struct Counts {
    accepted: u64,
    stored: u64,
    timed: u64,
    in_time: u64,
}

impl Jobs {
    /// # Errors
    /// When an answer is no 2xx, or not all that was accepted is stored.
    pub(crate) async fn measure(&self, environment: &Environment<'_>) -> Result<Vec<Row>> {
        let server = environment.service(&[("MULTIVAC_DB", "sqlite://jobs.db")]).await?;
        let worker = match environment.stores() {
            Some(_) => Some(environment.service_as("worker").await?),
            None => None,
        };
        let mut rows = Vec::new();
        if let Some(worker) = &worker {
            sleep(Duration::from_secs(1)).await;
            let limit = environment.subject.limits.idle_mib;
            rows.push(Row::new("", "worker: memory, idle").at_most(
                worker.endpoint.resident_mib()?,
                limit,
                " MiB",
            ));
        }
        let queue = match environment.stores() {
            Some(stores) => Some(connect(stores.redis.url()).await?),
            None => None,
        };
        if let Some(queue) = &queue {
            // The worker's group keeps it where no job waits.
            let exists: bool = queue.clone().exists(JOBS).await?;
            ensure!(exists, "there is no {JOBS} in Redis");
        }
        let service = Service { server, worker, queue };
        let (throughput, rate) = self.throughput(environment, &service).await?;
        rows.extend(throughput);
        rows.push(self.at_half_throughput(environment, &service, rate / 2.0).await?);
        let Service { server, worker, .. } = service;
        for process in [Some(server), worker].into_iter().flatten() {
            process.stop().await?;
        }
        Ok(rows)
    }

    fn row(&self, figure: &str) -> Row {
        Row::new(self.request.target, figure)
    }

    /// How many jobs a second are accepted and stored, beside a bare loop if there is one. They alternate.
    async fn throughput(
        &self,
        environment: &Environment<'_>,
        service: &Service,
    ) -> Result<(Vec<Row>, f64)> {
        let bare = match (environment.stores(), &self.bare) {
            (Some(stores), Some(beside)) => Some((BareLoop::start(stores).await?, beside)),
            _ => None,
        };
        let [mut rate, mut bare_rate, mut ratio] = [(); 3].map(|()| Samples::default());
        let mut warm = false;
        while environment.plan.wants_more(if bare.is_some() { &ratio } else { &rate }) {
            let jobs = self.store_all(environment, service).await?;
            let bare_jobs = match &bare {
                Some((bare, beside)) => Some(bare.run(beside.round).await?),
                None => None,
            };
            if warm {
                rate.push(jobs);
                if let Some(bare_jobs) = bare_jobs {
                    bare_rate.push(bare_jobs);
                    ratio.push(jobs / bare_jobs);
                }
            }
            warm = true;
        }
        let figure = format!("{MANY_CONNECTIONS} connections: jobs accepted and stored a second");
        let row = self.row(&figure).samples_at_least(&rate, self.rate, "");
        let Some((_, beside)) = bare else { return Ok((vec![row], rate.median())) };
        let least = Some(beside.ratio);
        let beside = self.row("jobs a second, ratio").samples_at_least(&ratio, least, "");
        Ok((vec![row.bare(bare_rate.with_interval("")), beside], rate.median()))
    }

    /// Sends jobs as fast as they are accepted, and waits until all are stored. Returns how many a second.
    async fn store_all(&self, environment: &Environment<'_>, service: &Service) -> Result<f64> {
        let before = service.counts(self).await?;
        let (script, time) = (environment.path("jobs.lua"), environment.plan.round);
        let started = Instant::now();
        let (server, request) = (&service.server.endpoint, &self.request);
        match &self.bare {
            Some(beside) => {
                load::counted(server, request, MANY_CONNECTIONS, beside.round).await?;
            }
            None => {
                load::closed(server, request, &script, MANY_CONNECTIONS, time).await?;
            }
        }
        let after = service.all_stored(self).await?;
        let jobs = u32::try_from(after.stored - before.stored)?;
        Ok(f64::from(jobs) / started.elapsed().as_secs_f64())
    }

    /// Which share of the jobs is stored in time at a fixed rate.
    async fn at_half_throughput(
        &self,
        environment: &Environment<'_>,
        service: &Service,
        rate: f64,
    ) -> Result<Row> {
        let rate = (rate / 100.0).floor() * 100.0;
        let before = service.counts(self).await?;
        load::at_rate(&service.server.endpoint, &self.request, rate, environment.plan.latency)
            .await?;
        let after = service.all_stored(self).await?;
        let [timed, in_time] = [after.timed - before.timed, after.in_time - before.in_time];
        let share = f64::from(u32::try_from(in_time)?) / f64::from(u32::try_from(timed)?);
        let Within { seconds, share: least } = self.within;
        Ok(self
            .row(&format!("jobs stored within {seconds} s at {rate}/s"))
            .service(format!("{:.2} %", share * 100.0))
            .target(format!("≥ {:.0} %", least * 100.0), share >= least))
    }
}

/// The service: its server, and its worker if that is a process of its own.
struct Service {
    server: Server,
    worker: Option<Server>,
    /// Where jobs wait, if that is not within the server.
    queue: Option<MultiplexedConnection>,
}

impl Service {
    async fn counts(&self, jobs: &Jobs) -> Result<Counts> {
        let server = self.server.metrics().await?;
        let worker = match &self.worker {
            Some(worker) => worker.metrics().await?,
            None => server.clone(),
        };
        let count = |metrics: &str, name: &str| sum_of_series(metrics, |series| series == name);
        let time = "multivac_job_storage_duration_seconds";
        Ok(Counts {
            accepted: count(&server, "multivac_jobs_accepted_total")?,
            stored: count(&worker, "multivac_jobs_stored_total")?,
            timed: count(&worker, &format!("{time}_count"))?,
            in_time: count(&worker, &format!("{time}_bucket{{le=\"{}\"}}", jobs.within.seconds))?,
        })
    }

    /// Waits until nothing is queued.
    async fn all_stored(&self, jobs: &Jobs) -> Result<Counts> {
        let stored = async {
            loop {
                let counts = self.counts(jobs).await?;
                // Not enough: what a client left before it was answered is stored and counted nowhere else.
                if counts.timed >= counts.accepted && self.queue_length().await? == 0 {
                    return self.counts(jobs).await;
                }
                sleep(POLL_INTERVAL).await;
            }
        };
        timeout(TIMEOUT, stored).await.context("not all jobs were stored")?
    }

    /// How many jobs wait. Redis is asked itself: the service's answer also counts what MongoDB has stored.
    async fn queue_length(&self) -> Result<u64> {
        if let Some(queue) = &self.queue {
            return Ok(queue.clone().xlen(JOBS).await?);
        }
        let queue = self.server.fetch(&Request::get("/multivac/queue")).await?;
        let queue: Value = serde_json::from_str(&queue.body)?;
        queue["length"].as_u64().context("the queue has no length")
    }
}

/// What moving jobs costs at least: `XADD` by many at once, and one that does `XREADGROUP`, `insertMany` and
/// `XACK` in turn, without HTTP and without a promise about what fails.
struct BareLoop {
    adder: MultiplexedConnection,
    worker: MultiplexedConnection,
    collection: Collection<Document>,
}

impl BareLoop {
    async fn start(stores: &Stores) -> Result<Self> {
        let redis = stores.redis.url();
        let (adder, mut worker) = (connect(redis).await?, connect(redis).await?);
        let _: () = worker.xgroup_create_mkstream(BARE, BARE, "0").await?;
        let client = Client::with_options(ClientOptions::parse(stores.mongo.url()).await?)?;
        let majority = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build();
        let options = CollectionOptions::builder().write_concern(majority).build();
        let collection = client.database(BARE).collection_with_options(BARE, options);
        Ok(Self { adder, worker, collection })
    }

    /// Adds so many jobs, and moves all of them. Returns how many a second.
    async fn run(&self, jobs: u32) -> Result<f64> {
        let started = Instant::now();
        let begun = AtomicU32::new(0);
        let done = AtomicBool::new(false);
        let add = async {
            let adders = (0..MANY_CONNECTIONS).map(|_| async {
                let mut connection = self.adder.clone();
                while begun.fetch_add(1, Ordering::Relaxed) < jobs {
                    let datum = [("data", "What is the last question")];
                    let _: String = connection.xadd(BARE, "*", &datum).await?;
                }
                Ok::<_, anyhow::Error>(())
            });
            join_all(adders).await.into_iter().collect::<Result<()>>()?;
            done.store(true, Ordering::Relaxed);
            Ok::<_, anyhow::Error>(())
        };
        let work = async {
            let mut moved = 0;
            loop {
                // Asked first: what is added by the end is seen after it.
                let last = done.load(Ordering::Relaxed);
                let batch = self.move_batch().await?;
                moved += batch;
                if last && batch == 0 {
                    return Ok::<_, anyhow::Error>(moved);
                }
            }
        };
        let ((), moved) = try_join(add, work).await?;
        ensure!(moved == jobs, "the bare loop has lost a job");
        Ok(f64::from(moved) / started.elapsed().as_secs_f64())
    }

    async fn move_batch(&self) -> Result<u32> {
        let mut redis = self.worker.clone();
        let options = StreamReadOptions::default().group(BARE, BARE).count(BATCH);
        let read: Option<StreamReadReply> = redis.xread_options(&[BARE], &[">"], &options).await?;
        let Some(entries) = read.and_then(|mut read| read.keys.pop()).map(|key| key.ids) else {
            return Ok(0);
        };
        let documents = entries.iter().map(|entry| {
            let data: String = entry.get("data").unwrap_or_default();
            doc! { "_id": &entry.id, "data": data }
        });
        self.collection.insert_many(documents).ordered(false).await?;
        let ids: Vec<&str> = entries.iter().map(|entry| entry.id.as_str()).collect();
        let _: () = redis.xack(BARE, BARE, &ids).await?;
        Ok(u32::try_from(ids.len())?)
    }
}
