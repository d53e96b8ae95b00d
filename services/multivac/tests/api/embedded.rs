//! What only the embedded store does, and how it fails.

use std::fs;

use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Executor as _};
use test_support::{Volume, wait_until};

use crate::{INSUFFICIENT, Stores, TIMEOUT};

pub(crate) async fn open(stores: &Stores) -> SqliteConnection {
    let url = stores.variables()[0].1;
    SqliteConnection::connect_with(&url.parse::<SqliteConnectOptions>().unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_datum_that_is_refused_becomes_a_dead_letter_and_can_be_retried() {
    let stores = Stores::embedded();
    let variables =
        [("JOB_CLAIM_AFTER", "200ms"), ("JOB_MAX_ATTEMPTS", "3"), ("QUEUE_MAX_LENGTH", "2")];
    let multivac = stores.start(&variables).await;
    let mut file = open(&stores).await;
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON entropy WHEN NEW.data LIKE 'bad%' \
        BEGIN SELECT RAISE(ABORT, 'a bad datum'); END";
    file.execute(refuse).await.unwrap();
    let jobs = [multivac.add("bad").await, multivac.add("good").await];

    // Its neighbour does not wait for it.
    multivac.wait_for(&jobs[1], "stored").await;
    multivac.wait_for(&jobs[0], "failed").await;

    assert_eq!(multivac.job(&jobs[0]).await["attempts"], 3);
    assert_eq!(multivac.queue().await["dead_letters"], 1);
    for (metric, value) in [("stored", 1.0), ("refused", 3.0), ("dead", 1.0), ("repeated", 0.0)] {
        let metric = format!("multivac_jobs_{metric}_total");
        assert_eq!(multivac.server.metric(&metric).await, Some(value), "{metric}");
    }
    let listed = stores.command(&["dead-letters", "list"]).await.unwrap();
    let letter: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((&letter["id"], &letter["data"]), (&json!("1"), &json!("bad")));
    assert!(letter["reason"].as_str().unwrap().contains("a bad datum"), "{letter}");
    for id in ["2", "01", "x"] {
        assert!(stores.command(&["dead-letters", "retry", id]).await.is_err(), "{id}");
    }
    assert!(stores.command(&["dead-letters", "retry"]).await.is_err());

    file.execute("DROP TRIGGER refuse").await.unwrap();
    let retried = stores.command(&["dead-letters", "retry", "--all"]).await.unwrap();

    assert_eq!(retried, "queued anew: 1");
    multivac.wait_for(&jobs[0], "stored").await;
    assert_eq!(multivac.answer().await, "bad", "it has kept its place in the order");
}

#[tokio::test]
async fn a_full_queue_takes_no_more() {
    let stores = Stores::embedded();
    let multivac = stores.start(&[("QUEUE_MAX_LENGTH", "1")]).await;
    let mut file = open(&stores).await;
    let refuse =
        "CREATE TRIGGER refuse BEFORE INSERT ON entropy BEGIN SELECT RAISE(ABORT, 'no'); END";
    file.execute(refuse).await.unwrap();
    let job = multivac.add("waits").await;

    let refused = multivac.post("too many").await;
    assert_eq!(refused.status(), 503);
    assert!(refused.text().await.unwrap().contains("full"));
    assert_eq!(multivac.job(&job).await["status"], "queued");

    file.execute("DROP TRIGGER refuse").await.unwrap();
    multivac.wait_for(&job, "stored").await;
    multivac.store(&["another"]).await;
}

#[tokio::test]
async fn what_has_expired_is_forgotten() {
    let stores = Stores::embedded();
    let multivac = stores.start(&[("TOMBSTONE_TTL", "1s")]).await;
    let job = multivac.store(&["datum"]).await.remove(0);
    multivac.delete().await;
    wait_until("it is forgotten", TIMEOUT, async || {
        multivac.server.get(&job).await.status() == 404
    })
    .await;
    multivac.store(&["another"]).await;
    let count = "SELECT count(*) FROM tombstones";
    let left: i64 = sqlx::query_scalar(count).fetch_one(&mut open(&stores).await).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn many_posts_share_a_commit() {
    let stores = Stores::embedded();
    let multivac = stores.start(&[]).await;
    futures_util::future::join_all((0..64).map(|_| multivac.add("datum"))).await;

    let commits = multivac.server.metric("db_client_batch_size_count").await.unwrap();
    assert!(commits < 32.0, "{commits} commits");
}

#[tokio::test]
async fn a_file_that_cannot_be_made_is_made_once_it_can() {
    let stores = Stores::embedded();
    let Stores::Embedded { folder, .. } = &stores else { return };
    fs::write(folder.path().join("data"), "a file where the folder should be").unwrap();
    let multivac = stores.begin(&[]);
    wait_until("it is not ready", TIMEOUT, async || {
        let problem: Value = multivac.server.get("/readyz").await.json().await.unwrap_or_default();
        problem["checks"].as_array().is_some_and(|checks| checks.contains(&json!("database")))
    })
    .await;
    assert_eq!(multivac.post("datum").await.status(), 503);
    assert_eq!(multivac.server.get("/multivac").await.status(), 503);

    fs::remove_file(folder.path().join("data")).unwrap();
    crate::ready(&multivac.server).await;
    multivac.store(&["datum"]).await;
    assert_eq!(multivac.answer().await, "datum");
}

#[tokio::test]
async fn a_full_volume_takes_nothing_loses_nothing_and_heals() {
    let stores = Stores::embedded();
    let Stores::Embedded { folder, .. } = &stores else { return };
    let Some(volume) = Volume::mount(&folder.path().join("data"), "400k") else { return };
    let multivac = stores.start(&[]).await;
    let mut accepted = 0;
    let full = loop {
        let answer = multivac.post(&"x".repeat(4000)).await;
        if answer.status() != 200 {
            break answer;
        }
        accepted += 1;
    };
    assert_eq!(full.status(), 507);
    assert_eq!(multivac.server.get("/healthz").await.status(), 200);
    assert_eq!(multivac.server.get("/multivac").await.status(), 200, "reading goes on");

    volume.remount("size=4m");
    wait_until("there is room", TIMEOUT, async || {
        let has_room = multivac.post("room").await.status() == 200;
        accepted += u64::from(has_room);
        has_room
    })
    .await;
    wait_until("all that was answered is stored, and nothing else", TIMEOUT, async || {
        let queue = multivac.queue().await;
        (&queue["length"], &queue["stored"]) == (&json!(0), &json!(accepted))
    })
    .await;
}

#[tokio::test]
async fn data_are_there_after_a_restart() {
    let stores = Stores::embedded();
    let multivac = stores.start(&[]).await;
    let jobs = multivac.store(&["one", "two"]).await;
    multivac.delete().await;
    assert!(multivac.server.stop().await);

    let multivac = stores.start(&[]).await;
    assert_eq!(multivac.job(&jobs[0]).await["status"], "deleted");
    assert_eq!(multivac.answer().await, "two");
    assert_eq!(multivac.delete().await, "Deleted!");
    assert_eq!(multivac.answer().await, INSUFFICIENT);
}
