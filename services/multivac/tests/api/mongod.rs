//! What only MongoDB itself shows: what it was asked for, and what that cost it.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use mongodb::bson::{Bson, Document, doc};
use mongodb::{Client, Database};
use test_support::{MongoDb, wait_until};

use crate::{Multivac, Stores, TIMEOUT, database_of};

/// How many data there are: an operation that looked at all of them would stand out.
const DATA: usize = 300;

/// How long MongoDB may take to remove what has expired, which it looks for once a minute.
const EXPIRY: Duration = Duration::from_mins(3);

/// The service, and its database on a MongoDB that can tell.
async fn start(variables: &[(&str, &str)]) -> Option<(Stores, Multivac, Database)> {
    MongoDb::genuine().await?;
    let stores = Stores::distributed().await?;
    let Stores::Distributed { mongo, .. } = &stores else { return None };
    let database =
        Client::with_uri_str(mongo.url()).await.unwrap().database(database_of(mongo.url()));
    let multivac = stores.start(variables).await;
    Some((stores, multivac, database))
}

/// What the database has noted of these operations on the data, once it has of one.
async fn profiled(database: &Database, filter: Document) -> Vec<Document> {
    let profile = database.collection::<Document>("system.profile");
    let mut found = Vec::new();
    wait_until("the operation is noted", TIMEOUT, async || {
        found = profile.find(filter.clone()).await.unwrap().try_collect().await.unwrap();
        !found.is_empty()
    })
    .await;
    found
}

fn number(document: &Document, name: &str) -> Option<i64> {
    match document.get(name)? {
        Bson::Int32(number) => Some((*number).into()),
        Bson::Int64(number) => Some(*number),
        _ => None,
    }
}

#[tokio::test]
async fn every_change_waits_for_the_journals_of_a_majority() {
    let Some((_stores, multivac, database)) = start(&[]).await else { return };
    database.run_command(doc! { "profile": 2 }).await.unwrap();

    multivac.store(&["datum"]).await;
    assert_eq!(multivac.delete().await, "Deleted!");

    for change in ["insert", "findAndModify"] {
        let filter = doc! { format!("command.{change}"): "entropy" };
        for noted in profiled(&database, filter).await {
            let concern = noted.get_document("command").unwrap().get_document("writeConcern");
            let concern = concern.unwrap_or_else(|_| panic!("{change} without: {noted}"));
            assert_eq!(concern.get_str("w").unwrap(), "majority", "{change}");
            assert!(concern.get_bool("j").unwrap(), "{change}");
        }
    }
}

#[tokio::test]
async fn the_oldest_datum_and_a_job_are_found_by_one_key() {
    let Some((_stores, multivac, database)) = start(&[]).await else { return };
    let jobs = futures_util::future::join_all((0..DATA).map(|_| multivac.add("datum"))).await;
    for job in &jobs {
        multivac.wait_for(job, "stored").await;
    }
    // Tombstones lie before the oldest datum.
    for _ in 0..DATA / 3 {
        assert_eq!(multivac.delete().await, "Deleted!");
    }
    database.run_command(doc! { "profile": 2 }).await.unwrap();

    multivac.answer().await;
    assert_eq!(multivac.job(jobs.last().unwrap()).await["status"], "stored");
    assert_eq!(multivac.delete().await, "Deleted!");

    for (what, filter) in [
        ("GET", doc! { "command.find": "entropy", "command.sort.seq": 1 }),
        ("the job", doc! { "command.find": "entropy", "command.filter._id": { "$exists": true } }),
        ("DELETE", doc! { "command.findAndModify": "entropy" }),
    ] {
        for noted in profiled(&database, filter).await {
            assert_eq!(number(&noted, "keysExamined"), Some(1), "{what}: {noted}");
            assert_eq!(number(&noted, "docsExamined"), Some(1), "{what}: {noted}");
            assert!(!noted.get_bool("hasSortStage").unwrap_or(false), "{what}: {noted}");
        }
    }
}

#[tokio::test]
async fn tombstones_expire() {
    let variables = [("TOMBSTONE_TTL", "1s")];
    let Some((_stores, multivac, database)) = start(&variables).await else { return };
    let job = multivac.store(&["datum"]).await.remove(0);
    multivac.store(&["another"]).await;
    assert_eq!(multivac.delete().await, "Deleted!");

    let entropy = database.collection::<Document>("entropy");
    wait_until("the tombstone is gone", EXPIRY, async || {
        entropy.find_one(doc! { "deleted": { "$exists": true } }).await.unwrap().is_none()
    })
    .await;

    assert_eq!(multivac.server.get(&job).await.status(), 404);
    assert_eq!(multivac.answer().await, "another", "what is stored does not expire");
}

#[tokio::test]
async fn another_time_for_tombstones_changes_the_index_that_there_is() {
    let Some((stores, _multivac, database)) = start(&[("TOMBSTONE_TTL", "1h")]).await else {
        return;
    };
    let expiry = async || {
        let listed = doc! { "listIndexes": "entropy" };
        let listed = database.run_cursor_command(listed).await.unwrap();
        let indexes: Vec<Document> = listed.try_collect().await.unwrap();
        let of_tombstones =
            |index: &&Document| index.get_str("name").is_ok_and(|name| name == "deleted_1");
        indexes.iter().find(of_tombstones).and_then(|index| number(index, "expireAfterSeconds"))
    };
    assert_eq!(expiry().await, Some(3600));

    let _other = stores.start(&[("TOMBSTONE_TTL", "2h")]).await;

    assert_eq!(expiry().await, Some(7200));
}
