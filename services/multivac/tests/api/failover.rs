//! A Redis that answers and does not take writes: a replica, or one without memory.
#![expect(clippy::disallowed_methods, reason = "the name ends with its test")]

use std::net::SocketAddr;

use redis::aio::MultiplexedConnection;
use serde_json::Value;
use test_support::{Durability, MongoDb, Redis, wait_until};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::faults::{Servers, expect_missing, expect_ready};
use crate::{Multivac, Stores, TIMEOUT};

/// A name for a Redis: new connections go where it leads to.
struct Name {
    addr: SocketAddr,
    node: watch::Sender<SocketAddr>,
}

impl Name {
    async fn of(redis: &Redis) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (node, current) = watch::channel(redis.server.addr());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let node = *current.borrow();
                tokio::spawn(async move {
                    let Ok(mut node) = TcpStream::connect(node).await else { return };
                    let _ = copy_bidirectional(&mut client, &mut node).await;
                });
            }
        });
        Self { addr, node }
    }

    fn lead_to(&self, redis: &Redis) {
        self.node.send_replace(redis.server.addr());
    }
}

async fn connect(redis: &Redis) -> MultiplexedConnection {
    let client = redis::Client::open(redis.url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

async fn replicate(redis: &mut MultiplexedConnection, of: Option<SocketAddr>) {
    let (host, port) = of.map_or(("NO".into(), "ONE".into()), |addr| {
        (addr.ip().to_string(), addr.port().to_string())
    });
    redis::cmd("REPLICAOF").arg(host).arg(port).exec_async(redis).await.unwrap();
}

async fn set(redis: &mut MultiplexedConnection, name: &str, value: &str) {
    let mut set = redis::cmd("CONFIG");
    set.arg("SET").arg(name).arg(value).exec_async(redis).await.unwrap();
}

/// What a POST is refused with.
async fn refusal(multivac: &Multivac) -> String {
    let refused = multivac.post("refused").await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");
    let problem: Value = refused.json().await.unwrap();
    problem["detail"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn after_a_failover_jobs_go_to_the_new_primary_and_nothing_is_lost() {
    let (Some(old), Some(new), Some(mongo)) = (
        Redis::start_own(Durability::Durable).await,
        Redis::start_own(Durability::Durable).await,
        MongoDb::start_own().await,
    ) else {
        return;
    };
    let name = Name::of(&old).await;
    let stores =
        Stores::Own { redis: format!("redis://{}", name.addr), mongo: mongo.url().to_owned() };
    let multivac = stores.start(&[]).await;
    multivac.store(&["before"]).await;
    let (mut of_old, mut of_new) = (connect(&old).await, connect(&new).await);
    replicate(&mut of_new, Some(old.server.addr())).await;
    wait_until("the replica has everything", TIMEOUT, async || {
        let seq: Option<String> =
            redis::cmd("GET").arg("{multivac}:seq").query_async(&mut of_new).await.unwrap();
        seq.as_deref() == Some("1")
    })
    .await;

    replicate(&mut of_new, None).await;
    replicate(&mut of_old, Some(new.server.addr())).await;
    expect_missing(&multivac, "redis").await;
    assert!(refusal(&multivac).await.contains("nothing was queued"));
    name.lead_to(&new);

    // Nothing is started again, and no connection to the old primary was cut.
    expect_ready(&multivac).await;
    multivac.store(&["after"]).await;
    assert_eq!(multivac.queue().await["stored"], 2);
    assert_eq!(multivac.answer().await, "before");
}

#[tokio::test]
async fn a_replica_is_not_ready_until_it_takes_writes() {
    let Some((servers, multivac)) = Servers::with_service(&[]).await else { return };
    let mut redis = servers.redis().await;

    // Its primary is not there.
    let nowhere = format!("127.0.0.1:{}", test_support::free_port()).parse().unwrap();
    replicate(&mut redis, Some(nowhere)).await;
    expect_missing(&multivac, "redis").await;
    assert!(refusal(&multivac).await.contains("nothing was queued"));
    set(&mut redis, "replica-serve-stale-data", "no").await;
    assert!(refusal(&multivac).await.contains("nothing was queued"));
    expect_missing(&multivac, "redis").await;

    replicate(&mut redis, None).await;
    expect_ready(&multivac).await;
    multivac.store(&["datum"]).await;
    assert_eq!(multivac.queue().await["stored"], 1);
}

#[tokio::test]
async fn a_redis_without_memory_is_a_full_queue_and_ready() {
    let Some((servers, multivac)) = Servers::with_service(&[]).await else { return };
    multivac.store(&["datum"]).await;
    let mut redis = servers.redis().await;

    set(&mut redis, "maxmemory", "1").await;

    assert_eq!(refusal(&multivac).await, "the queue is full");
    let checked = async || {
        let report: Value = multivac.server.get("/readyz?verbose").await.json().await.unwrap();
        report["checks"][0]["last_duration_ms"].clone()
    };
    let before = checked().await;
    wait_until("it was checked since", TIMEOUT, async || checked().await != before).await;
    assert_eq!(multivac.server.get("/readyz").await.status(), 200);
    set(&mut redis, "maxmemory", "0").await;
    multivac.store(&["another"]).await;
}
