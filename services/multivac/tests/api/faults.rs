//! Stores that are away, silent, full or unwilling, and workers that go away.

use mongodb::bson::{Document, doc};
use redis::AsyncCommands as _;
use reqwest::StatusCode;
use serde_json::{Value, json};
use test_support::{App, Binary, Durability, Mode, MongoDb, Proxy, Redis, Signal, wait_until};

use crate::{INSUFFICIENT, Multivac, PROGRAM, Stores, TIMEOUT, job_of};

/// Servers that the test may do anything to, and the variables that lead to them.
pub(crate) struct Servers {
    pub(crate) redis: Redis,
    pub(crate) mongo: MongoDb,
}

impl Servers {
    pub(crate) async fn start() -> Option<Self> {
        Some(Self {
            redis: Redis::start_own(Durability::Durable).await?,
            mongo: MongoDb::start_own().await?,
        })
    }

    /// Servers, and the service on them.
    pub(crate) async fn with_service(variables: &[(&str, &str)]) -> Option<(Self, Multivac)> {
        let servers = Self::start().await?;
        let multivac = servers.stores().start(variables).await;
        Some((servers, multivac))
    }

    /// The same, without a worker.
    pub(crate) async fn with_server(variables: &[(&str, &str)]) -> Option<(Self, Multivac)> {
        let servers = Self::start().await?;
        let multivac = servers.stores().start_without_worker(variables).await;
        Some((servers, multivac))
    }

    pub(crate) fn stores(&self) -> Stores {
        Stores::Own { redis: self.redis.url().to_owned(), mongo: self.mongo.url().to_owned() }
    }

    /// The same, with MongoDB behind a proxy.
    pub(crate) fn stores_through(&self, mongo: &Proxy) -> Stores {
        Stores::Own { redis: self.redis.url().to_owned(), mongo: mongo.url(self.mongo.url()) }
    }

    /// A worker that reaches MongoDB through a proxy.
    pub(crate) async fn start_worker_through_proxy(
        &self,
        variables: &[(&str, &str)],
    ) -> (Proxy, App) {
        let proxy = Proxy::start(self.mongo.server.addr());
        let worker = self.stores_through(&proxy).start_worker(variables).await;
        (proxy, worker)
    }

    /// Waits until a worker holds a job.
    async fn wait_until_taken(&self, job: &str) {
        let mut redis = self.redis().await;
        wait_until("a worker has the job", TIMEOUT, async || {
            pending(&mut redis).await.iter().any(|(id, _)| job.ends_with(id))
        })
        .await;
    }

    pub(crate) async fn redis(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.redis.url()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// From now on the store refuses a datum that it has.
    async fn forbid_repeated_data(&self) {
        let unique = mongodb::options::IndexOptions::builder().unique(true).build();
        let unique =
            mongodb::IndexModel::builder().keys(doc! { "data": 1 }).options(unique).build();
        self.entropy().await.create_index(unique).await.unwrap();
    }

    pub(crate) async fn entropy(&self) -> mongodb::Collection<Document> {
        let client = mongodb::Client::with_uri_str(self.mongo.url()).await.unwrap();
        client.database("multivac").collection("entropy")
    }
}

/// The entries that workers hold, and how often each was handed out.
pub(crate) async fn pending(redis: &mut redis::aio::MultiplexedConnection) -> Vec<(String, usize)> {
    let pending: redis::streams::StreamPendingCountReply =
        redis.xpending_count("{multivac}:jobs", "workers", "-", "+", 10).await.unwrap();
    pending.ids.into_iter().map(|entry| (entry.id, entry.times_delivered)).collect()
}

pub(crate) async fn expect_missing(multivac: &Multivac, check: &str) {
    let missing = async |app: &App| {
        let problem: Value = app.get("/readyz").await.json().await.unwrap_or_default();
        problem["checks"] == json!([check])
    };
    for app in [Some(&multivac.server), multivac.worker.as_ref()].into_iter().flatten() {
        wait_until(&format!("{check} is missing"), TIMEOUT, async || missing(app).await).await;
        assert_eq!(app.get("/healthz").await.status(), 200);
    }
}

pub(crate) async fn expect_ready(multivac: &Multivac) {
    for app in [Some(&multivac.server), multivac.worker.as_ref()].into_iter().flatten() {
        crate::ready(app).await;
    }
}

#[tokio::test]
async fn while_redis_is_away_nothing_is_taken_and_nothing_lost() {
    let Some(mut servers) = Servers::start().await else { return };
    servers.redis.server.kill();
    let multivac = servers.stores().begin(&[]);
    expect_missing(&multivac, "redis").await;
    assert_eq!(multivac.post("refused").await.status(), 503);
    assert_eq!(multivac.server.get("/multivac/queue").await.status(), 503);
    assert_eq!(multivac.answer().await, INSUFFICIENT, "the store is there");
    assert_eq!(multivac.server.get("/metrics").await.status(), 200);

    servers.redis.server.restart().await;
    expect_ready(&multivac).await;
    multivac.store(&["one"]).await;

    servers.redis.server.kill();
    expect_missing(&multivac, "redis").await;
    let refused = multivac.post("refused").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "1");
    let id = refused.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert!(!refused.text().await.unwrap().contains("127.0.0.1"));
    assert_eq!(multivac.server.logs_of(&id).await.len(), 1);
    assert_eq!(multivac.answer().await, "one");

    servers.redis.server.restart().await;
    expect_ready(&multivac).await;
    multivac.store(&["two"]).await;
    assert_eq!(multivac.queue().await["stored"], 2);
}

#[tokio::test]
async fn while_mongodb_is_away_jobs_wait_and_no_attempt_is_counted() {
    let Some(mut servers) = Servers::start().await else { return };
    servers.mongo.server.kill();
    let multivac = servers.stores().begin(&[("JOB_CLAIM_AFTER", "1s"), ("JOB_MAX_ATTEMPTS", "1")]);
    expect_missing(&multivac, "mongodb").await;
    let job = multivac.add("patient").await;
    assert_eq!(multivac.server.get("/multivac").await.status(), 503);
    assert_eq!(multivac.server.get(&job).await.status(), 503);
    // Until it was handed out more than once.
    let mut redis = servers.redis().await;
    wait_until("it was tried", TIMEOUT, async || {
        let pending: Vec<(String, String, u64, u64)> =
            redis.xpending_count("{multivac}:jobs", "workers", "-", "+", 1).await.unwrap();
        pending.first().is_some_and(|(_, _, idle, _)| *idle > 3000)
    })
    .await;

    servers.mongo.server.restart().await;
    expect_ready(&multivac).await;
    multivac.wait_for(&job, "stored").await;

    assert_eq!(multivac.answer().await, "patient");
    assert_eq!(multivac.queue().await["dead_letters"], 0);
    let worker = multivac.worker.as_ref().unwrap();
    assert_eq!(worker.metric("multivac_jobs_refused_total").await, Some(0.0));
}

#[tokio::test]
async fn silent_stores_are_a_503_in_bounded_time() {
    let Some((mut servers, multivac)) = Servers::with_service(&[]).await else { return };
    multivac.store(&["datum"]).await;

    servers.redis.server.freeze();
    assert_eq!(multivac.post("unknown").await.status(), 503);
    expect_missing(&multivac, "redis").await;
    servers.redis.server.thaw();
    expect_ready(&multivac).await;

    servers.mongo.server.freeze();
    assert_eq!(multivac.server.get("/multivac").await.status(), 503);
    expect_missing(&multivac, "mongodb").await;
    servers.mongo.server.thaw();
    expect_ready(&multivac).await;
    assert_eq!(multivac.answer().await, "datum");
}

#[tokio::test]
async fn a_redis_without_memory_takes_nothing_and_heals() {
    let variables = [("JOB_MAX_ATTEMPTS", "1")];
    let Some((servers, mut multivac)) = Servers::with_service(&variables).await else { return };
    let stores = servers.stores();
    servers.forbid_repeated_data().await;
    multivac.store(&["one"]).await;
    assert!(multivac.worker.take().unwrap().stop().await);
    let mut redis = servers.redis().await;
    let mut limit = async |bytes: &str| {
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg("maxmemory").arg(bytes).exec_async(&mut redis).await.unwrap();
    };
    let (refused, waiting) = (multivac.add("one").await, multivac.add("two").await);

    limit("1").await;
    assert_eq!(multivac.post("three").await.status(), 503);
    // What was taken before is settled, or its memory would never be free.
    let _worker = stores.start_worker(&variables).await;
    multivac.wait_for(&waiting, "stored").await;
    multivac.wait_for(&refused, "failed").await;

    limit("0").await;
    multivac.store(&["three"]).await;
    assert_eq!(multivac.queue().await["stored"], 3);
}

#[tokio::test]
async fn a_datum_that_the_store_refuses_becomes_a_dead_letter_and_can_be_retried() {
    let variables = [("JOB_CLAIM_AFTER", "500ms"), ("JOB_MAX_ATTEMPTS", "3")];
    let Some((servers, multivac)) = Servers::with_server(&variables).await else { return };
    let stores = servers.stores();
    servers.forbid_repeated_data().await;
    let (first, refused, last) =
        (multivac.add("same").await, multivac.add("same").await, multivac.add("other").await);
    let worker = stores.start_worker(&variables).await;

    // Its neighbours in the batch do not wait for it.
    multivac.wait_for(&first, "stored").await;
    multivac.wait_for(&last, "stored").await;
    multivac.wait_for(&refused, "failed").await;

    assert_eq!(multivac.job(&refused).await["attempts"], 3);
    let queue = multivac.queue().await;
    assert_eq!((&queue["length"], &queue["dead_letters"]), (&json!(0), &json!(1)));
    // What has become of a job is counted once the stores know it.
    let dead = async || worker.metric("multivac_jobs_dead_total").await == Some(1.0);
    wait_until("it is counted", TIMEOUT, dead).await;
    assert_eq!(worker.metric("multivac_jobs_refused_total").await, Some(3.0));
    let id = refused.rsplit('/').next().unwrap();
    let listed = stores.command(&["dead-letters", "list"]).await.unwrap();
    let letter: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(
        (&letter["id"], &letter["data"], &letter["attempts"]),
        (&json!(id), &json!("same"), &json!(3))
    );
    assert!(letter["reason"].as_str().unwrap().contains("duplicate"), "{letter}");
    assert!(stores.command(&["dead-letters", "retry", "1-1"]).await.is_err());

    servers.entropy().await.drop_index("data_1").await.unwrap();
    let retried = stores.command(&["dead-letters", "retry", id]).await.unwrap();

    assert_eq!(retried, "queued anew: 1");
    multivac.wait_for(&refused, "stored").await;
    assert_eq!(stores.command(&["dead-letters", "list"]).await.unwrap(), "");
    assert_eq!(
        stores.command(&["dead-letters", "retry", "--all"]).await.unwrap(),
        "queued anew: 0"
    );
    // It has kept its place in the order.
    for datum in ["same", "same", "other"] {
        assert_eq!(multivac.answer().await, datum);
        multivac.delete().await;
    }
}

#[tokio::test]
async fn an_entry_that_no_server_has_added_becomes_a_dead_letter_with_its_reason() {
    let Some((servers, multivac)) = Servers::with_service(&[]).await else { return };
    let stores = servers.stores();
    let mut redis = servers.redis().await;
    let jobs = "{multivac}:jobs";
    let foreign: String = redis.xadd(jobs, "*", &[("payload", "a datum")]).await.unwrap();
    let _: String =
        redis.xadd(jobs, "*", &[("seq", &b"7"[..]), ("data", &b"\xff"[..])]).await.unwrap();
    let _: String = redis.xadd(jobs, "*", &[("seq", "first"), ("data", "ours")]).await.unwrap();

    multivac.store(&["datum"]).await;

    multivac.wait_until_settled().await;
    let listed = stores.command(&["dead-letters", "list"]).await.unwrap();
    let listed: Vec<Value> =
        listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let reasons = listed.iter().map(|dead_letter| dead_letter["reason"].as_str().unwrap());
    assert_eq!(
        reasons.collect::<Vec<_>>(),
        [
            "not a job: `seq` is missing or not a number",
            "not a job: `data` is missing or not UTF-8",
            "not a job: `seq` is missing or not a number"
        ]
    );
    assert_eq!(listed[0]["id"], foreign);
    assert_eq!(listed[0]["data"], r#"{"payload":"a datum"}"#);
    let dead = multivac.worker.as_ref().unwrap().metric("multivac_jobs_dead_total").await;
    assert_eq!(dead, Some(3.0));

    // What it has is a datum, if an operator says so.
    assert_eq!(
        stores.command(&["dead-letters", "retry", &foreign]).await.unwrap(),
        "queued anew: 1"
    );
    multivac.wait_for(&format!("/multivac/jobs/{foreign}"), "stored").await;
    assert_eq!(multivac.queue().await["stored"], 2);
}

/// Takes all jobs as a worker that dies; returns how many there are.
pub(crate) async fn take_and_die(redis: &mut redis::aio::MultiplexedConnection) -> usize {
    let _: () = redis.xgroup_create("{multivac}:jobs", "workers", "0").await.unwrap();
    let options = redis::streams::StreamReadOptions::default().group("workers", "of old");
    let taken: redis::streams::StreamReadReply =
        redis.xread_options(&["{multivac}:jobs"], &[">"], &options).await.unwrap();
    taken.keys[0].ids.len()
}

#[tokio::test]
async fn jobs_of_a_dead_worker_are_taken_over() {
    let variables = [("JOB_CLAIM_AFTER", "1s")];
    let Some((servers, multivac)) = Servers::with_server(&variables).await else { return };
    let mut redis = servers.redis().await;
    let jobs = [multivac.add("one").await, multivac.add("two").await];
    assert_eq!(take_and_die(&mut redis).await, 2);

    let _worker = servers.stores().start_worker(&variables).await;

    for job in jobs {
        multivac.wait_for(&job, "stored").await;
    }
    assert_eq!(multivac.answer().await, "one");
    assert_eq!(redis.xlen::<_, u64>("{multivac}:jobs").await.unwrap(), 0, "the stream is bounded");
}

#[tokio::test]
async fn a_worker_that_returns_late_neither_repeats_nor_brings_back() {
    let variables = [("JOB_CLAIM_AFTER", "1s")];
    let Some((servers, multivac)) = Servers::with_server(&variables).await else { return };
    let (proxy, late) = servers.start_worker_through_proxy(&variables).await;
    multivac.store(&["before"]).await;
    multivac.wait_until_settled().await;
    proxy.set(Mode::Stall).await;
    let job = multivac.add("once").await;
    servers.wait_until_taken(&job).await;

    let _other = servers.stores().start_worker(&variables).await;
    multivac.wait_for(&job, "stored").await;
    assert_eq!(multivac.delete().await, "Deleted!");
    assert_eq!(multivac.delete().await, "Deleted!");
    proxy.heal().await;

    let repeated = async || late.metric("multivac_jobs_repeated_total").await >= Some(1.0);
    wait_until("the late worker has come again", TIMEOUT, repeated).await;
    assert_eq!(multivac.answer().await, INSUFFICIENT);
    assert_eq!(multivac.job(&job).await["status"], "deleted");
}

#[tokio::test]
async fn a_worker_that_was_stopped_finds_its_job_taken_over_and_goes_on() {
    let variables = [("JOB_CLAIM_AFTER", "1s")];
    let Some((servers, multivac)) = Servers::with_server(&variables).await else { return };
    let proxy = Proxy::start(servers.mongo.server.addr());
    let slow = servers.stores_through(&proxy);
    let stopped =
        Binary::serve(PROGRAM, &["worker"], &[&slow.variables(), &variables[..]].concat());
    let metrics = format!("http://{}/metrics", stopped.addr().await);
    multivac.store(&["before"]).await;
    multivac.wait_until_settled().await;
    proxy.set(Mode::Stall).await;
    let job = multivac.add("once").await;
    servers.wait_until_taken(&job).await;
    stopped.signal(Signal::STOP);

    let other = servers.stores().start_worker(&variables).await;
    multivac.wait_for(&job, "stored").await;
    for _ in 0..2 {
        assert_eq!(multivac.delete().await, "Deleted!");
    }
    assert!(other.stop().await);
    proxy.heal().await;
    stopped.signal(Signal::CONT);

    multivac.store(&["after"]).await;
    assert_eq!(multivac.answer().await, "after", "the deleted datum stays deleted");
    assert_eq!(multivac.job(&job).await["status"], "deleted");
    assert_eq!(multivac.queue().await["stored"], 1);
    let metrics = reqwest::get(metrics).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("multivac_jobs_repeated_total 1\n"), "{metrics}");
}

#[tokio::test]
async fn two_workers_with_one_name_share_the_jobs() {
    let Some(stores) = Stores::distributed().await else { return };
    let multivac = stores.start(&[]).await;
    let other = stores.start_worker(&[]).await;
    // Each has stored some; nothing tells them apart.
    let workers = [multivac.worker.as_ref().unwrap(), &other];
    let done = async || {
        let mut counts = Vec::new();
        for worker in workers {
            counts.push(worker.metric("multivac_jobs_stored_total").await.unwrap_or_default());
        }
        counts
    };
    let mut posted = 0_u32;
    wait_until("each has stored some", TIMEOUT, async || {
        futures_util::future::join_all((0..50).map(|_| multivac.add("datum"))).await;
        posted += 50;
        done().await.iter().all(|count| *count > 0.0)
    })
    .await;
    wait_until("all are stored", TIMEOUT, async || {
        done().await.iter().sum::<f64>() >= f64::from(posted)
    })
    .await;

    assert_eq!(multivac.queue().await["stored"], posted);
    for worker in workers {
        assert_eq!(worker.metric("multivac_jobs_repeated_total").await, Some(0.0));
    }
}

#[tokio::test]
async fn a_group_that_is_lost_is_made_anew_without_a_loss() {
    let Some((servers, multivac)) = Servers::with_service(&[]).await else { return };
    multivac.store(&["before"]).await;
    let mut redis = servers.redis().await;

    let _: () = redis.xgroup_destroy("{multivac}:jobs", "workers").await.unwrap();

    multivac.store(&["after"]).await;
    assert_eq!(multivac.queue().await["stored"], 2);
}

#[tokio::test]
async fn outages_on_purpose_are_those_of_each_store() {
    let Some(stores) = Stores::distributed().await else { return };
    let variables = [("FAULT_INJECTION", "true"), ("ADMIN_PORT", "0")];
    let multivac = stores.start(&variables).await;
    multivac.store(&["here"]).await;
    let outage = |store| serde_json::json!([{ "store": store, "outage": true, "duration": "1h" }]);
    let readyz_names = async |store: &str| {
        wait_until(&format!("{store} is missing"), TIMEOUT, async || {
            let text = multivac.server.get("/readyz").await.text().await.unwrap();
            text.contains(&format!("\"checks\":[\"{store}\"]"))
        })
        .await;
    };

    multivac.server.set_faults(&outage("redis")).await;
    let refused = multivac.post("not taken").await;
    assert_eq!(refused.status(), 503);
    assert!(refused.text().await.unwrap().contains("nothing was queued"));
    readyz_names("redis").await;
    assert_eq!(multivac.answer().await, "here");

    multivac.server.set_faults(&outage("mongodb")).await;
    assert_eq!(multivac.server.get("/multivac").await.status(), 503);
    readyz_names("mongodb").await;
    let job = job_of(&multivac.post("taken").await);

    multivac.server.set_faults(&serde_json::json!([])).await;
    crate::ready(&multivac.server).await;
    multivac.wait_for(&job, "stored").await;
    assert_eq!(multivac.count().await, 2);
}
