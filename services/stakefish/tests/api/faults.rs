//! The database unavailable, silent, pending a migration, full, and back.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use test_support::{Durability, Postgres, Sql, Volume, on_both_databases, wait_until};

use crate::{Service, TIMEOUT};

#[tokio::test]
async fn without_its_database_a_lookup_is_a_503_and_works_again_when_that_is_back() {
    let Some(mut postgres) = Postgres::start_own(Durability::Fast).await else { return };
    let service = Service::start_on(postgres.url(), &[]).await;
    service.dns.set_addresses("example.com", &["192.0.2.1"]);
    assert_eq!(service.look_up("example.com").await.status(), 200);

    postgres.server.kill();
    service.wait_for_readyz(503).await;

    for face in ["/tools/lookup", "/v1/tools/lookup?domain=example.com", "/history", "/v1/history"]
    {
        let answer = match face {
            "/tools/lookup" => service.look_up("example.com").await,
            path => service.app.get(path).await,
        };
        assert_eq!(answer.status(), 503, "{face}");
        assert!(answer.headers().contains_key("retry-after"));
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["detail"], "the database is not available");
        assert_eq!(problem.get("message").is_some(), face.starts_with("/v1"));
    }
    let problem: Value = service.app.get("/readyz").await.json().await.unwrap();
    assert_eq!(problem["checks"], json!(["database"]));
    // What needs no database goes on, and the metrics are the last ones.
    assert_eq!(service.post("/tools/validate", &json!({"ip": "1.2.3.4"})).await.status(), 200);
    for path in ["/", "/health", "/healthz", "/metrics"] {
        assert_eq!(service.app.get(path).await.status(), 200, "{path}");
    }
    let unsaved = "stakefish_lookups_total{outcome=\"not_saved\"}";
    assert_eq!(service.app.metric(unsaved).await, Some(2.0));

    postgres.server.restart().await;

    service.wait_for_readyz(200).await;
    assert_eq!(service.look_up("example.com").await.status(), 200);
    let history: Vec<Value> = service.app.get("/history").await.json().await.unwrap();
    assert_eq!(history.len(), 2);
    wait_until("the counts go on", TIMEOUT, async || {
        service.app.metric("queries_total{domain=\"example.com\"}").await == Some(2.0)
    })
    .await;
}

#[tokio::test]
async fn lookups_in_progress_do_not_outlast_the_database() {
    let Some(mut postgres) = Postgres::start_own(Durability::Fast).await else { return };
    let service = Service::start_on(postgres.url(), &[("DATABASE_TIMEOUT", "20s")]).await;
    service.dns.set_addresses("example.com", &["192.0.2.1"]);
    assert_eq!(service.look_up("example.com").await.status(), 200);

    postgres.server.freeze();
    let lookups = join_all((0..20).map(|_| service.look_up("example.com")));
    let answers = tokio::time::timeout(Duration::from_secs(15), lookups).await.unwrap();

    assert!(answers.iter().all(|answer| answer.status() == 503));
    postgres.server.thaw();
    wait_until("lookups are saved again", TIMEOUT, async || {
        service.look_up("example.com").await.status() == 200
    })
    .await;
}

#[tokio::test]
async fn a_file_that_cannot_be_made_or_is_removed_is_made_once_it_can() {
    let database = Sql::Sqlite.database().await.unwrap();
    std::fs::write(database.folder(), "a file").unwrap();
    let service = Service::begin(database.url(), &[]).await;
    service.dns.set_addresses("example.com", &["192.0.2.1"]);
    service.wait_for_missing("database").await;
    assert_eq!(service.look_up("example.com").await.status(), 503);
    assert_eq!(service.app.get("/v1/history").await.status(), 503);
    assert_eq!(service.app.get("/metrics").await.status(), 200);

    std::fs::remove_file(database.folder()).unwrap();
    service.wait_for_readyz(200).await;
    assert_eq!(service.look_up("example.com").await.status(), 200);

    std::fs::remove_dir_all(database.folder()).unwrap();
    wait_until("the new file is used", TIMEOUT, async || {
        let answer = service.app.get("/history").await;
        answer.status() == 200 && answer.text().await.unwrap() == "[]"
    })
    .await;
    assert_eq!(service.look_up("example.com").await.status(), 200);
}

on_both_databases! {
    async fn a_pending_migration_keeps_the_service_from_being_ready(sql: Sql) {
        let Some(database) = sql.database().await else { return };
        let service = Service::begin(database.url(), &[("AUTO_MIGRATE", "false")]).await;
        service.dns.set_addresses("example.com", &["192.0.2.1"]);

        service.wait_for_missing("migrations").await;

        assert_eq!(service.look_up("example.com").await.status(), 503);
        assert_eq!(service.app.get("/history").await.status(), 503);
    }
}

#[tokio::test]
async fn a_full_disk_is_a_507_and_heals_when_there_is_room() {
    let database = Sql::Sqlite.database().await.unwrap();
    let Some(volume) = Volume::mount(&database.folder(), "1m") else { return };
    let service = Service::start_on(database.url(), &[]).await;
    service.dns.set_addresses("example.com", &["192.0.2.1"]);
    assert_eq!(service.look_up("example.com").await.status(), 200);

    // To the last byte.
    let ballast = database.folder().join("ballast");
    assert!(std::fs::write(&ballast, vec![0; 2 * 1024 * 1024]).is_err());
    wait_until("nothing more is saved", TIMEOUT, async || {
        service.look_up("example.com").await.status() == 507
    })
    .await;
    assert_eq!(service.app.get("/history").await.status(), 200, "reading goes on");

    std::fs::remove_file(ballast).unwrap();
    wait_until("lookups are saved again", TIMEOUT, async || {
        service.look_up("example.com").await.status() == 200
    })
    .await;
    drop(volume);
}

#[tokio::test]
async fn an_outage_on_purpose_is_one_for_clients_and_probes() {
    let variables = [("FAULT_INJECTION", "true"), ("ADMIN_PORT", "0")];
    let service = Service::start(&variables).await;
    service.dns.set_addresses("example.com", &["192.0.2.1"]);
    assert_eq!(service.look_up("example.com").await.status(), 200);

    let outage = json!([{ "store": "database", "outage": true, "duration": "1h" }]);
    assert_eq!(service.app.set_faults(&outage).await.status(), 200);

    assert_eq!(service.look_up("example.com").await.status(), 503);
    service.wait_for_missing("database").await;
    assert_eq!(service.app.get("/history").await.status(), 503);
    assert_eq!(service.app.get("/health").await.status(), 200);

    service.app.set_faults(&json!([])).await;
    service.wait_for_readyz(200).await;
    assert_eq!(service.look_up("example.com").await.status(), 200);
}

#[tokio::test]
async fn a_slow_database_on_purpose_is_waited_for_and_no_longer_than_its_timeout() {
    let variables =
        [("FAULT_INJECTION", "true"), ("ADMIN_PORT", "0"), ("DATABASE_TIMEOUT", "300ms")];
    let service = Service::start(&variables).await;
    service.dns.set_addresses("example.com", &["192.0.2.1"]);

    let slow = json!([{ "store": "database", "latency": "50ms", "duration": "1h" }]);
    service.app.set_faults(&slow).await;
    assert_eq!(service.app.get("/history").await.status(), 200);
    assert_eq!(service.app.get("/readyz").await.status(), 200);
    let silent = json!([{ "store": "database", "latency": "1s", "duration": "1h" }]);
    service.app.set_faults(&silent).await;
    assert_eq!(service.app.get("/history").await.status(), 503);
}
