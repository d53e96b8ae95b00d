//! The service as its clients see it.
#![expect(clippy::unwrap_used, reason = "in a test, what cannot go on is a failure")]

mod audit;
mod cardinality;
mod client;
mod cors;
mod documents;
mod faults;
mod histories;
mod process;
mod queries;
mod randomizes;
mod rotation;
mod spans;

use std::time::Duration;

use randomize::{Config, SCHEMA, build};
use serde_json::{Value, json};
use storage::{DatabaseConfig, migrate};
use test_support::{App, Sql, SqlDatabase, wait_until};

/// How long a test waits for what happens in the background.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The service on a database of its own.
struct Service {
    app: App,
    database: SqlDatabase,
}

impl Service {
    /// Starts it, or notes that there is no such database here.
    async fn start(sql: Sql, variables: &[(&str, &str)]) -> Option<Self> {
        Some(Self::start_on(database(sql).await?, variables).await)
    }

    async fn start_on(database: SqlDatabase, variables: &[(&str, &str)]) -> Self {
        let app = app(database.url(), variables);
        wait_for_readyz(&app, 200).await;
        Self { app, database }
    }

    /// Posts a body, and returns status and answer.
    async fn post(&self, body: impl Into<reqwest::Body>) -> (u16, Value) {
        let answer = self.app.post("/api/randomizes", "application/json", body).await;
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Keeps a word, and returns what was answered.
    async fn create(&self, word: &str) -> Value {
        let (status, created) = self.post(json!({ "word": word }).to_string()).await;
        assert_eq!(status, 201, "{created}");
        created
    }

    async fn json(&self, path: &str) -> Value {
        self.app.get(path).await.json().await.unwrap()
    }

    /// The audit trail, once it has that many rows.
    async fn histories(&self, rows: usize) -> Vec<Value> {
        let mut found = Vec::new();
        wait_until(&format!("there are {rows} audit rows"), TIMEOUT, async || {
            let histories = self.json("/api/histories?limit=100").await;
            found.clone_from(histories.as_array().unwrap());
            found.len() >= rows
        })
        .await;
        found
    }
}

fn app(url: &str, variables: &[(&str, &str)]) -> App {
    let mut all = vec![("DATABASE_URL", url)];
    all.extend(variables);
    App::start(&all, Config::load, build)
}

async fn wait_for_readyz(app: &App, status: u16) {
    let what = format!("/readyz answers {status}");
    wait_until(&what, TIMEOUT, async || app.get("/readyz").await.status() == status).await;
}

/// A migrated database.
async fn database(sql: Sql) -> Option<SqlDatabase> {
    sql.database_from("randomize", async |url: String| {
        let config =
            DatabaseConfig { database_url: Some(url.as_str().into()), ..DatabaseConfig::default() };
        migrate(&config, &SCHEMA).await.unwrap();
    })
    .await
}
