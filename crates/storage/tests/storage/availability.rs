//! The database unavailable, silent, full, replaced, and back.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::try_join_all;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{Connection as _, SqliteConnection};
use storage::Error;
use test_support::{Durability, Postgres, Proxy, Sql, Volume, wait_until};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::{SCHEMA, TIMEOUT, Words};

/// Connections that read from SQLite.
const READERS: usize = 4;

/// Reads that may wait for one of them.
const MAX_WAITING_READS: usize = 2048;

/// PostgreSQL and a service of its own.
async fn postgres() -> Option<(Postgres, Words)> {
    let postgres = Postgres::start_own(Durability::Fast).await?;
    let words = Words::begin(&[("DATABASE_URL", postgres.url())], &SCHEMA);
    words.wait_until_ready(true).await;
    Some((postgres, words))
}

#[tokio::test]
async fn a_database_that_comes_after_the_service_is_used() {
    let Some(mut postgres) = Postgres::start_own(Durability::Fast).await else { return };
    postgres.server.kill();
    let words = Words::begin(&[("DATABASE_URL", postgres.url())], &SCHEMA);
    words.wait_until_ready(false).await;
    assert!(matches!(words.writer.write("a".into()).await, Err(Error::Unavailable(_))));

    postgres.server.restart().await;

    words.wait_until_ready(true).await;
    words.writer.write("a".into()).await.unwrap();
}

#[tokio::test]
async fn a_database_that_is_killed_fails_requests_at_once_and_heals() {
    let Some((mut postgres, words)) = postgres().await else { return };
    words.writer.write("before".into()).await.unwrap();

    postgres.server.kill();

    // The first may still find a connection that breaks under it.
    assert!(words.writer.write("during".into()).await.is_err());
    wait_until("it is known to be unavailable", TIMEOUT, async || {
        matches!(words.count().await, Err(Error::Unavailable(_)))
    })
    .await;
    words.wait_until_ready(false).await;
    let readyz = words.readyz().await;
    assert!(readyz.contains("database") && !readyz.contains("migrations"), "{readyz}");

    postgres.server.restart().await;

    words.wait_until_ready(true).await;
    assert_eq!(words.count().await.unwrap(), 1);
    words.writer.write("after".into()).await.unwrap();
}

#[tokio::test]
async fn a_silent_database_holds_up_no_request_for_longer_than_it_takes_to_notice() {
    let Some((mut postgres, words)) = postgres().await else { return };

    postgres.server.freeze();
    let waiting = tokio::time::timeout(TIMEOUT, words.writer.write("lost".into()));

    assert!(waiting.await.unwrap().is_err());
    words.wait_until_ready(false).await;
    assert!(matches!(words.count().await, Err(Error::Unavailable(_))));
    postgres.server.thaw();
    words.wait_until_ready(true).await;
    words.writer.write("found".into()).await.unwrap();
}

#[tokio::test]
async fn a_network_that_breaks_heals_without_a_failed_request() {
    let Some(postgres) = Postgres::shared().await else { return };
    let database = postgres.database().await;
    let proxy = Proxy::start(postgres.server.addr());
    let url = proxy.url(database.url());
    let words = Words::begin(&[("DATABASE_URL", &url)], &SCHEMA);
    words.wait_until_ready(true).await;

    proxy.cut().await;
    words.wait_until_ready(false).await;
    proxy.heal().await;
    words.wait_until_ready(true).await;

    // None of these finds a connection of before.
    for n in 0..20 {
        words.writer.write(format!("word {n}")).await.unwrap();
        words.count().await.unwrap();
    }
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_ended() {
    let Some(postgres) = Postgres::shared().await else { return };
    let database = postgres.database().await;
    let variables = [("DATABASE_URL", database.url()), ("DATABASE_TIMEOUT", "200ms")];
    let words = Words::begin(&variables, &SCHEMA);
    words.wait_until_ready(true).await;
    let sleeping = words.database.operation("sleep");

    let slept = words
        .database
        .read(&sleeping, async |connection| {
            let storage::Connection::Postgres(connection) = connection else { unreachable!() };
            sqlx::query("SELECT pg_sleep(60)").execute(connection).await
        })
        .await;

    assert!(matches!(slept, Err(Error::TimedOut)), "{slept:?}");
    assert_eq!(words.count().await.unwrap(), 0);
}

#[tokio::test]
async fn reads_beyond_those_that_may_wait_are_refused_at_once() {
    let database = Sql::Sqlite.database().await.unwrap();
    let variables = [("DATABASE_URL", database.url()), ("DATABASE_TIMEOUT", "1m")];
    let words = Words::begin(&variables, &SCHEMA);
    words.wait_until_ready(true).await;
    let (begun, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let (database, operation) = (words.database.clone(), words.database.operation("hold"));
        let (begun, gate) = (Arc::clone(&begun), Arc::clone(&gate));
        readers.spawn(async move {
            let hold = async |_: storage::Connection<'_>| {
                begun.add_permits(1);
                let _ = gate.acquire().await;
                Ok(())
            };
            database.read(&operation, hold).await
        });
    }
    let _all = begun.acquire_many(u32::try_from(READERS).unwrap()).await.unwrap();
    let mut waiting: Vec<_> = (0..MAX_WAITING_READS).map(|_| Box::pin(words.count())).collect();
    for read in &mut waiting {
        assert!(read.now_or_never().is_none());
    }

    let refused = words.count().await;

    assert!(matches!(refused, Err(Error::Overloaded)), "{refused:?}");
    assert_eq!(words.metric("db_client_operations_refused_total").await, 1);
    gate.add_permits(READERS);
    assert!(readers.join_all().await.into_iter().all(|outcome| outcome.is_ok()));
    assert!(try_join_all(waiting).await.unwrap().iter().all(|count| *count == 0));
    words.count().await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_removed_is_made_anew() {
    let database = Sql::Sqlite.database().await.unwrap();
    let words = Words::start(&database).await;
    words.writer.write("a".into()).await.unwrap();

    fs::remove_dir_all(database.folder()).unwrap();

    wait_until("the new file is used", TIMEOUT, async || matches!(words.count().await, Ok(0)))
        .await;
    words.wait_until_ready(true).await;
    words.writer.write("a".into()).await.unwrap();
    assert!(database.folder().join("test.db").exists());
}

#[tokio::test]
async fn a_file_that_was_replaced_takes_no_writes_until_the_new_one_is_ready() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["old", "new"] {
        fs::create_dir(path(name)).unwrap();
    }
    symlink(path("old"), path("current")).unwrap();
    let url = format!("sqlite://{}", path("current/test.db").display());
    // Migrations wait for a lock for as long.
    let variables = [("DATABASE_URL", url.as_str()), ("DATABASE_TIMEOUT", "2m")];
    let words = Words::begin(&variables, &SCHEMA);
    words.wait_until_ready(true).await;
    let new = SqliteConnectOptions::new().filename(path("new/test.db"));
    let new = new.create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
    let mut new = SqliteConnection::connect_with(&new).await.unwrap();
    let lock = new.begin_with("BEGIN IMMEDIATE").await.unwrap();

    symlink(path("new"), path("next")).unwrap();
    fs::rename(path("next"), path("current")).unwrap();

    wait_until("writes are refused", TIMEOUT, async || {
        matches!(words.writer.write("a".into()).await, Err(Error::Unavailable(_)))
    })
    .await;
    lock.rollback().await.unwrap();
    wait_until("writes are taken", TIMEOUT, async || words.writer.write("a".into()).await.is_ok())
        .await;
    assert_eq!(words.count().await.unwrap(), 1);
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_leaves_the_service_not_ready_until_it_can() {
    let database = Sql::Sqlite.database().await.unwrap();
    fs::write(database.folder(), "a file").unwrap();
    let words = Words::begin(&[("DATABASE_URL", database.url())], &SCHEMA);
    wait_until("it is known to be unavailable", TIMEOUT, async || {
        words.readyz().await.contains("database")
    })
    .await;

    fs::remove_file(database.folder()).unwrap();

    words.wait_until_ready(true).await;
    words.writer.write("a".into()).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_is_told_apart_and_heals() {
    let database = Sql::Sqlite.database().await.unwrap();
    let Some(volume) = Volume::mount(&database.folder(), "256k") else { return };
    let words = Words::start(&database).await;
    let mut kept = 0;

    let error = loop {
        match words.writer.write(format!("{kept}{}", "x".repeat(10_000))).await {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
    };

    assert!(matches!(error, Error::Full(_)), "{error:?}");
    assert_eq!(words.count().await.unwrap(), kept);
    volume.remount("size=1m");
    words.writer.write("there is room again".into()).await.unwrap();
    assert_eq!(words.count().await.unwrap(), kept + 1);
    assert!(words.stop().await);
}

#[tokio::test]
async fn a_url_of_neither_database_is_a_wrong_configuration() {
    for url in [
        "mysql://localhost/words",
        "sqlite::memory:",
        "sqlite://",
        "words.db",
        "postgres://h:port/",
    ] {
        let mut loader = common::Loader::new([("DATABASE_URL", url)]);
        let config = storage::DatabaseConfig::load("sqlite://unused.db", &mut loader);
        let problem = loader.finish(config).unwrap_err().to_string();
        assert!(problem.contains("DATABASE_URL: expected sqlite://"), "{url}: {problem}");
        assert!(url == "sqlite://" || !problem.contains(url), "{problem}");
    }
}

#[test]
fn a_time_out_of_nothing_is_a_wrong_configuration() {
    let mut loader = common::Loader::new([("DATABASE_TIMEOUT", "0s")]);
    let config = storage::DatabaseConfig::load("sqlite://words.db", &mut loader);
    assert_eq!(config.database_timeout, Duration::ZERO);
    assert!(config.is_sqlite());
    loader.finish(config).unwrap_err();
}
