//! The order of data where Redis or MongoDB are replaced, restored or set back.

use futures_util::future::join_all;
use mongodb::bson::doc;
use redis::AsyncCommands as _;
use reqwest::Method;
use test_support::{Proxy, wait_until};

use crate::faults::{Servers, expect_missing, expect_ready};
use crate::{Multivac, TIMEOUT};

const SEQ: &str = "{multivac}:seq";

async fn flush(servers: &Servers) {
    redis::cmd("FLUSHALL").exec_async(&mut servers.redis().await).await.unwrap();
}

/// Expects these data, the oldest first, and nothing else.
async fn expect_in_order(multivac: &Multivac, data: &[&str]) {
    for datum in data {
        assert_eq!(multivac.answer().await, *datum);
        assert_eq!(multivac.delete().await, "Deleted!");
    }
    assert_eq!(multivac.delete().await, "no such data");
}

/// Servers whose Redis was emptied when two data were stored.
async fn emptied() -> Option<Servers> {
    let servers = Servers::start().await?;
    servers.stores().start(&[]).await.store(&["old0", "old1"]).await;
    flush(&servers).await;
    Some(servers)
}

#[tokio::test]
async fn an_empty_redis_goes_on_above_what_is_stored_if_the_server_starts_first() {
    let Some(servers) = emptied().await else { return };

    let multivac = servers.stores().start_without_worker(&[]).await;
    let jobs = [multivac.add("new0").await, multivac.add("new1").await];
    let _worker = servers.stores().start_worker(&[]).await;
    for job in &jobs {
        multivac.wait_for(job, "stored").await;
    }

    expect_in_order(&multivac, &["old0", "old1", "new0", "new1"]).await;
}

#[tokio::test]
async fn a_job_that_is_not_added_takes_no_number() {
    let Some(servers) = Servers::start().await else { return };
    let multivac = servers.stores().start_without_worker(&[("QUEUE_MAX_LENGTH", "20")]).await;
    let post = async |number: usize| {
        let request = multivac.server.request(Method::POST, "/multivac/data");
        let key = number / 4;
        let request = request.header("idempotency-key", key).form(&[("data", key)]);
        request.send().await.unwrap().status()
    };

    // At once, so that a batch has repeated keys, and the queue is full within one.
    let statuses = join_all((0..120).map(post)).await;

    assert_eq!(statuses.iter().filter(|status| status.is_success()).count(), 80);
    assert_eq!(servers.redis().await.get::<_, u64>(SEQ).await.unwrap(), 20);
}

#[tokio::test]
async fn an_empty_redis_goes_on_above_what_is_stored_if_the_worker_starts_first() {
    let Some(servers) = emptied().await else { return };

    let _worker = servers.stores().start_worker(&[]).await;
    let mut redis = servers.redis().await;
    wait_until("the worker waits for jobs", TIMEOUT, async || {
        redis.exists::<_, bool>("{multivac}:jobs").await.unwrap()
    })
    .await;
    let multivac = servers.stores().start_without_worker(&[]).await;
    multivac.store(&["new0", "new1"]).await;

    expect_in_order(&multivac, &["old0", "old1", "new0", "new1"]).await;
}

#[tokio::test]
async fn a_redis_that_is_emptied_while_all_runs_goes_on_above_what_is_stored() {
    let Some((servers, multivac)) = Servers::with_service(&[]).await else { return };
    multivac.store(&["old0", "old1"]).await;
    multivac.wait_until_settled().await;

    flush(&servers).await;
    multivac.store(&["new0", "new1"]).await;

    expect_in_order(&multivac, &["old0", "old1", "new0", "new1"]).await;
}

#[tokio::test]
async fn jobs_of_an_empty_redis_that_were_queued_while_mongodb_was_away_come_last() {
    let Some(servers) = Servers::start().await else { return };
    let proxy = Proxy::start(servers.mongo.server.addr());
    let multivac = servers.stores_through(&proxy).start(&[]).await;
    multivac.store(&["old0", "old1"]).await;
    multivac.wait_until_settled().await;

    proxy.cut().await;
    expect_missing(&multivac, "mongodb").await;
    flush(&servers).await;
    let jobs = [multivac.add("new0").await, multivac.add("new1").await];
    proxy.heal().await;
    expect_ready(&multivac).await;
    for job in &jobs {
        multivac.wait_for(job, "stored").await;
    }

    expect_in_order(&multivac, &["old0", "old1", "new0", "new1"]).await;
}

#[tokio::test]
async fn a_redis_that_has_lost_its_last_writes_goes_on_above_what_is_stored() {
    let Some((mut servers, multivac)) = Servers::with_service(&[]).await else { return };
    multivac.store(&["old0", "old1", "old2"]).await;
    multivac.wait_until_settled().await;

    let _: () = servers.redis().await.set(SEQ, 1).await.unwrap();
    servers.redis.server.kill();
    expect_missing(&multivac, "redis").await;
    servers.redis.server.restart().await;
    expect_ready(&multivac).await;
    multivac.store(&["new0", "new1"]).await;

    expect_in_order(&multivac, &["old0", "old1", "old2", "new0", "new1"]).await;
}

#[tokio::test]
async fn a_mongodb_that_is_restored_from_an_older_backup_keeps_the_order() {
    let Some((servers, multivac)) = Servers::with_service(&[]).await else { return };
    multivac.store(&["old0", "old1", "lost"]).await;
    multivac.wait_until_settled().await;

    servers.entropy().await.delete_one(doc! { "data": "lost" }).await.unwrap();
    multivac.store(&["new0"]).await;
    flush(&servers).await;
    multivac.store(&["new1"]).await;

    expect_in_order(&multivac, &["old0", "old1", "new0", "new1"]).await;
}

#[tokio::test]
async fn ids_of_an_empty_redis_whose_clock_is_behind_are_above_the_stored_ones() {
    let Some(servers) = Servers::start().await else { return };
    // A tombstone of a day to come, as a clock sees it that is behind.
    let latest = 4_000_000_000_000_u64;
    let tombstone =
        doc! { "_id": format!("{latest}-7"), "deleted": mongodb::bson::DateTime::now() };
    servers.entropy().await.insert_one(tombstone).await.unwrap();
    let multivac = servers.stores().start(&[]).await;

    let job = multivac.store(&["datum"]).await.remove(0);

    let id = job.rsplit('/').next().unwrap();
    assert!(id.split('-').next().unwrap().parse::<u64>().unwrap() > latest, "{id}");
    expect_in_order(&multivac, &["datum"]).await;
}
