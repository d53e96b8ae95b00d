//! Replicas that share a database.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use sqlx::Connection as _;
use test_support::{PgBouncer, Postgres, Sql, on_both_databases, wait_until};

use crate::{Service, TIMEOUT};

on_both_databases! {
    async fn two_replicas_that_save_the_same_names_never_deadlock(sql: Sql) {
        let Some(database) = sql.database().await else { return };
        save_the_same_names(sql, database.url(), database.url()).await;
    }
}

#[tokio::test]
async fn two_replicas_behind_a_pooler_start_at_once_and_save_the_same_names() {
    let Some(postgres) = Postgres::shared().await else { return };
    let Some(pooler) = PgBouncer::start(postgres, &[]).await else { return };
    let database = postgres.database().await;
    save_the_same_names(Sql::Postgres, &pooler.url(database.url()), database.url()).await;
}

/// By way of `url`, on the database at `direct`.
async fn save_the_same_names(sql: Sql, url: &str, direct: &str) {
    // Those of SQLite are processes on one machine, which wait for each other's transactions.
    let variables = [("WORKERS", "2"), ("DATABASE_TIMEOUT", "30s"), ("DNS_TIMEOUT", "30s")];
    let (one, two) =
        tokio::join!(Service::start_on(url, &variables), Service::start_on(url, &variables));
    let mut all = BTreeSet::new();
    let names: Vec<String> = (0..400).map(|number| format!("{number}.example")).collect();
    for (number, name) in names.iter().enumerate() {
        // Neighbours have most of their addresses in common, each in another order.
        let mut addresses: Vec<String> = (0..40)
            .map(|n| number * 5 + n)
            .map(|n| format!("10.0.{}.{}", n / 250, n % 250))
            .collect();
        addresses.rotate_left(number % 40);
        all.extend(addresses.clone());
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        one.dns.set_addresses(name, &addresses);
        two.dns.set_addresses(name, &addresses);
    }

    let forwards = names.iter().map(|name| one.look_up(name));
    let backwards = names.iter().rev().map(|name| two.look_up(name));
    let (forwards, backwards) = tokio::join!(join_all(forwards), join_all(backwards));

    for answer in forwards.into_iter().chain(backwards) {
        assert_eq!(answer.status(), 200, "{:?}", answer.text().await);
    }
    let addresses = count(sql, direct, "SELECT count(*) FROM addresses").await;
    assert_eq!(addresses, i64::try_from(all.len()).unwrap(), "one row an address");
    let links = count(sql, direct, "SELECT count(*) FROM query_addresses").await;
    assert_eq!(links, 2 * 400 * 40);
    if sql == Sql::Postgres {
        let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
        assert_eq!(count(sql, direct, deadlocks).await, 0);
    }
    for service in [one, two] {
        wait_until("each has counted all", TIMEOUT, async || {
            service.app.metric("queries_total{domain=\"0.example\"}").await == Some(2.0)
        })
        .await;
    }
}

async fn count(sql: Sql, url: &str, statement: &'static str) -> i64 {
    let counted = match sql {
        Sql::Sqlite => {
            let mut connection = sqlx::SqliteConnection::connect(url).await.unwrap();
            sqlx::query_scalar(statement).fetch_one(&mut connection).await
        }
        Sql::Postgres => {
            let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
            sqlx::query_scalar(statement).fetch_one(&mut connection).await
        }
    };
    counted.unwrap()
}

#[tokio::test]
async fn every_replica_shows_the_same_counts() {
    let Some(postgres) = Postgres::shared().await else { return };
    let database = postgres.database().await;
    let mut replicas = Vec::new();
    for _ in 0..3 {
        let service = Service::start_on(database.url(), &[]).await;
        service.dns.set_addresses("example.com", &["192.0.2.1"]);
        replicas.push(service);
    }

    for service in &replicas {
        let lookups = join_all((0..50).map(|_| service.look_up("example.com"))).await;
        assert!(lookups.iter().all(|answer| answer.status() == 200));
    }

    for service in &replicas {
        wait_until("each has counted all", TIMEOUT, async || {
            service.app.metric("queries_total{domain=\"example.com\"}").await == Some(150.0)
        })
        .await;
    }
}
