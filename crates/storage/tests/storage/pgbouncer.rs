//! Behind a pooler that lends a session for each transaction.

use futures_util::future::join_all;
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};
use storage::{Connection, DatabaseConfig, either, migrate};
use test_support::{PgBouncer, Postgres};

use crate::{SCHEMA, Words};

/// What poolers make of startup parameters that they do not know: refuse the connection, or leave them out.
const KINDS: [&[(&str, &str)]; 2] =
    [&[], &[("ignore_startup_parameters", "extra_float_digits,options")]];

#[tokio::test]
async fn replicas_that_start_at_once_migrate_write_and_read() {
    let Some(postgres) = Postgres::shared().await else { return };
    for kind in KINDS {
        let Some(pooler) = PgBouncer::start(postgres, kind).await else { return };
        let database = postgres.database().await;
        let url = pooler.url(database.url());
        let variables = [("DATABASE_URL", url.as_str())];

        let replicas: Vec<_> = (0..3).map(|_| Words::begin(&variables, &SCHEMA)).collect();
        for words in &replicas {
            words.wait_until_ready(true).await;
        }
        let writes = replicas.iter().enumerate().flat_map(|(replica, words)| {
            (0..100).map(move |n| words.writer.write(format!("word {n} of {replica}")))
        });
        let reads = replicas.iter().cycle().take(100).map(Words::count);
        let (written, read) = tokio::join!(join_all(writes), join_all(reads));

        assert!(written.iter().all(Result::is_ok), "{written:?}");
        assert!(read.iter().all(Result::is_ok), "{read:?}");
        assert_eq!(replicas[0].count().await.unwrap(), 300);
        for words in replicas {
            assert!(words.stop().await);
        }
        nothing_is_left(&url, database.url()).await;
    }
}

/// What is lent next is as it was: no prepared statement, no setting, no lock.
async fn nothing_is_left(pooled: &str, direct: &str) {
    for _ in 0..2 {
        let options: sqlx::postgres::PgConnectOptions = pooled.parse().unwrap();
        let options = options.extra_float_digits(None);
        let mut connection = PgConnection::connect_with(&options).await.unwrap();
        let left = connection
            .fetch_one(
                "SELECT (SELECT count(*) FROM pg_prepared_statements), \
                 current_setting('statement_timeout')",
            )
            .await
            .unwrap();
        let (statements, limit): (i64, String) = (left.get(0), left.get(1));
        assert_eq!((statements, limit.as_str()), (0, "0"));
    }
    let mut connection = PgConnection::connect(direct).await.unwrap();
    let locks = connection
        .fetch_one("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
        .await
        .unwrap();
    assert_eq!(locks.get::<i64, _>(0), 0);
}

/// The one text that a query answers.
async fn text(connection: Connection<'_>, query: &'static str) -> sqlx::Result<String> {
    either!(connection, |connection| sqlx::query_scalar(query).fetch_one(connection).await)
}

#[tokio::test]
async fn each_transaction_has_its_limit() {
    let Some(postgres) = Postgres::shared().await else { return };
    let Some(pooler) = PgBouncer::start(postgres, &[]).await else { return };
    let database = postgres.database().await;
    let url = pooler.url(database.url());
    let words = Words::begin(&[("DATABASE_URL", &url), ("DATABASE_TIMEOUT", "7s")], &SCHEMA);
    words.wait_until_ready(true).await;

    let limit = "SELECT current_setting('statement_timeout')";
    let limit = async |connection: Connection<'_>| text(connection, limit).await;
    let read = words.database.read(&words.counting, limit).await.unwrap();
    let written = words.database.write(&words.counting, limit).await.unwrap();

    assert_eq!((read.as_str(), written.as_str()), ("7s", "7s"));
}

#[tokio::test]
async fn a_url_may_say_that_sessions_are_lent() {
    let Some(postgres) = Postgres::shared().await else { return };
    let database = postgres.database().await;
    let url = format!("{}?statement-cache-capacity=0", database.url());
    let config =
        DatabaseConfig { database_url: Some(url.as_str().into()), ..DatabaseConfig::default() };

    assert_eq!(migrate(&config, &SCHEMA).await.unwrap(), "applied 20260101000000_words");

    let words = Words::begin(&[("DATABASE_URL", &url)], &SCHEMA);
    words.wait_until_ready(true).await;
    words.writer.write("word".into()).await.unwrap();
    let named = "SELECT count(*)::text FROM pg_prepared_statements WHERE name <> ''";
    let named = async |connection: Connection<'_>| text(connection, named).await;
    assert_eq!(words.database.read(&words.counting, named).await.unwrap(), "0");
}
