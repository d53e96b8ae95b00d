//! The database unavailable, full, pending a migration, and back.

use std::time::Duration;

use randomize::Config;
use serde_json::{Value, json};
use test_support::{App, Durability, Postgres, Sql, Volume, wait_until};

use crate::{Service, TIMEOUT, app, wait_for_readyz};

async fn post(app: &App, word: &str) -> reqwest::Response {
    app.post("/api/randomizes", "application/json", json!({ "word": word }).to_string()).await
}

#[tokio::test]
async fn a_database_that_is_away_is_a_503_at_once_and_heals() {
    let Some(mut postgres) = Postgres::start_own(Durability::Fast).await else { return };
    let app = app(postgres.url(), &[]);
    wait_for_readyz(&app, 200).await;
    assert_eq!(post(&app, "before").await.status(), 201);

    postgres.server.kill();

    wait_for_readyz(&app, 503).await;
    for answer in [post(&app, "during").await, app.get("/api/randomizes/1").await] {
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()["retry-after"], "1");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["detail"], "the database is not available");
        assert_eq!(problem["code"], 503);
    }
    // What is wrong with the request is still said.
    assert_eq!(post(&app, "").await.status(), 400);
    assert_eq!(app.get("/healthz").await.status(), 200);
    let unaudited = app.metric("randomize_requests_unaudited_total").await.unwrap();
    assert!(unaudited >= 3.0, "{unaudited}");

    postgres.server.restart().await;

    wait_for_readyz(&app, 200).await;
    assert_eq!(app.get("/api/randomizes/1").await.status(), 200);
    assert_eq!(post(&app, "after").await.status(), 201);
}

#[tokio::test]
async fn requests_in_progress_do_not_outlast_the_database() {
    let Some(mut postgres) = Postgres::start_own(Durability::Fast).await else { return };
    let app = app(postgres.url(), &[("DATABASE_TIMEOUT", "20s")]);
    wait_for_readyz(&app, 200).await;
    assert_eq!(post(&app, "before").await.status(), 201);

    postgres.server.freeze();
    let words = (0..20).map(|n| {
        let app = &app;
        async move { post(app, &format!("word {n}")).await.status() }
    });
    let answers =
        tokio::time::timeout(Duration::from_secs(15), futures_util::future::join_all(words));

    assert!(answers.await.unwrap().iter().all(|status| *status == 503));
    postgres.server.thaw();
    wait_for_readyz(&app, 200).await;
}

#[tokio::test]
async fn a_full_disk_is_a_507_and_heals_when_there_is_room() {
    let database = Sql::Sqlite.database().await.unwrap();
    let Some(volume) = Volume::mount(&database.folder(), "512k") else { return };
    let service = Service::start_on(database, &[]).await;
    let mut kept = 0;

    let problem = loop {
        let (status, answer) = service.post(json!({ "word": "x".repeat(250) }).to_string()).await;
        if status != 201 {
            break answer;
        }
        kept += 1;
    };

    assert_eq!(problem["status"], 507, "{problem}");
    assert_eq!(service.app.get("/api/randomizes/1").await.status(), 200, "reading goes on");
    assert_eq!(service.app.get("/readyz").await.status(), 200);
    volume.remount("size=2m");
    assert_eq!(service.create("there is room again").await["original"], "there is room again");
    // Neither words without a row nor rows without a word.
    let last = service.json("/api/randomizes?limit=1").await[0]["id"].as_i64().unwrap();
    assert_eq!(last, kept + 1);
    assert!(service.app.stop().await);
}

#[tokio::test]
async fn a_pending_migration_keeps_the_service_from_being_ready() {
    for sql in [Sql::Sqlite, Sql::Postgres] {
        let Some(database) = sql.database().await else { return };
        let app = app(database.url(), &[("AUTO_MIGRATE", "false")]);
        wait_until("the check has run", TIMEOUT, async || {
            app.get("/readyz").await.text().await.unwrap().contains("[\"migrations\"]")
        })
        .await;
        assert_eq!(post(&app, "word").await.status(), 503);
    }
}

#[tokio::test]
async fn replicas_that_start_at_once_share_an_empty_database() {
    let Some(database) = Sql::Postgres.database().await else { return };

    let replicas = [0; 3].map(|_| app(database.url(), &[]));

    for replica in &replicas {
        wait_for_readyz(replica, 200).await;
        assert_eq!(post(replica, "word").await.status(), 201);
    }
    let words: Vec<Value> = replicas[0].get("/api/randomizes").await.json().await.unwrap();
    assert_eq!(words.len(), 3);
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_by_name() {
    let mut loader = common::Loader::new([
        ("DATABASE_URL", "hush"),
        ("JWT_SECRET", "hush, but too short"),
        ("AUDIT_RETENTION", "hush"),
        ("CORS_ALLOWED_ORIGINS", "https://a.example/hush"),
    ]);
    let config = Config::load(&mut loader);

    let problems = loader.finish(config).unwrap_err().to_string();

    for name in ["DATABASE_URL: ", "JWT_SECRET: ", "AUDIT_RETENTION: ", "CORS_ALLOWED_ORIGINS: "] {
        assert!(problems.contains(name), "{problems}");
    }
    assert!(!problems.contains("hush"), "{problems}");
}
