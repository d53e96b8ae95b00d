//! `queries_total`, on both databases.

use std::time::Duration;

use test_support::{Sql, on_both_databases, wait_until};

use crate::{Service, TIMEOUT};

/// How long a million counts may take where others compile.
const LONG_TIMEOUT: Duration = Duration::from_mins(3);

/// Waits until a count is what it must be.
async fn wait_for_count(service: &Service, domain: &str, count: f64) {
    let sample = format!("queries_total{{domain=\"{domain}\"}}");
    wait_until(&format!("{sample} is {count}"), TIMEOUT, async || {
        service.app.metric(&sample).await == Some(count)
    })
    .await;
}

async fn look_up(service: &Service, name: &str, times: usize) {
    service.dns.set_addresses(name, &["192.0.2.1", "192.0.2.2"]);
    for _ in 0..times {
        assert_eq!(service.look_up(name).await.status(), 200);
    }
}

on_both_databases! {
    async fn saved_queries_are_counted_by_domain_over_restarts(sql: Sql) {
        let Some(database) = sql.database().await else { return };
        let service = Service::start_on(database.url(), &[]).await;
        look_up(&service, "google.com", 2).await;
        look_up(&service, "archive.org", 1).await;
        service.look_up("nobody.example").await;

        wait_for_count(&service, "google.com", 2.0).await;
        wait_for_count(&service, "archive.org", 1.0).await;
        wait_for_count(&service, "(other)", 0.0).await;
        let addresses = "stakefish_addresses_saved_total{domain=\"google.com\"}";
        assert_eq!(service.app.metric(addresses).await, Some(4.0));
        assert!(service.app.stop().await);

        let service = Service::start_on(database.url(), &[]).await;
        look_up(&service, "google.com", 3).await;
        wait_for_count(&service, "google.com", 5.0).await;
        wait_for_count(&service, "archive.org", 1.0).await;
    }

    async fn only_the_most_asked_domains_have_series_of_their_own(sql: Sql) {
        let Some(database) = sql.database().await else { return };
        let service = Service::start_on(database.url(), &[("METRICS_TOP_DOMAINS", "2")]).await;
        for (name, times) in [("a.example", 1), ("b.example", 3), ("c.example", 2), ("d.example", 2)] {
            look_up(&service, name, times).await;
        }

        wait_for_count(&service, "(other)", 3.0).await;

        wait_for_count(&service, "b.example", 3.0).await;
        wait_for_count(&service, "c.example", 2.0).await;
        let text = service.app.get("/metrics").await.text().await.unwrap();
        let series = text.lines().filter(|line| line.starts_with("queries_total{")).count();
        assert_eq!(series, 3, "{text}");
        assert!(text.contains("# TYPE queries_total counter"));
    }

    async fn a_million_domains_leave_the_metrics_as_they_are(sql: Sql) {
        let Some(database) = sql.database().await else { return };
        drop(Service::start_on(database.url(), &[]).await);
        fill_deltas(sql, database.url()).await;

        let service = Service::start_on(database.url(), &[]).await;

        let sample = "queries_total{domain=\"(other)\"}";
        wait_until("all are counted", LONG_TIMEOUT, async || {
            service.app.metric(sample).await == Some(999_900.0)
        })
        .await;
        wait_for_count(&service, "0000000.example", 5.0).await;
        let text = service.app.get("/metrics").await.text().await.unwrap();
        let series = text.lines().filter(|line| line.starts_with("queries_total{")).count();
        assert_eq!(series, 101);
    }
}

/// One query for each of a million names, the first with four more.
async fn fill_deltas(sql: Sql, url: &str) {
    use sqlx::Connection as _;
    let extra =
        "INSERT INTO domain_deltas (domain, queries, addresses) VALUES ('0000000.example', 4, 4)";
    match sql {
        Sql::Sqlite => {
            let mut database = sqlx::SqliteConnection::connect(url).await.unwrap();
            let fill = "WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n LIMIT 1000000) \
                        INSERT INTO domain_deltas (domain, queries, addresses) SELECT printf('%07d.example', n), 1, 1 FROM n";
            sqlx::query(fill).execute(&mut database).await.unwrap();
            sqlx::query(extra).execute(&mut database).await.unwrap();
        }
        Sql::Postgres => {
            let mut database = sqlx::PgConnection::connect(url).await.unwrap();
            let fill = "INSERT INTO domain_deltas (domain, queries, addresses) \
                        SELECT lpad(n::text, 7, '0') || '.example', 1, 1 FROM generate_series(0, 999999) AS n";
            sqlx::query(fill).execute(&mut database).await.unwrap();
            sqlx::query(extra).execute(&mut database).await.unwrap();
        }
    }
}
