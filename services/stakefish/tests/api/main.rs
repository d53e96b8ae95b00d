//! The service as its clients see it.
#![expect(clippy::unwrap_used, reason = "in a test, what cannot go on is a failure")]

mod cardinality;
mod client;
mod counts;
mod dns;
mod documents;
mod faults;
mod history;
mod instance;
mod lookup;
mod names;
mod process;
mod replicas;
mod rotation;
mod spans;
mod v1;
mod validate;

use std::time::Duration;

use dns::Dns;
use reqwest::Response;
use serde_json::{Value, json};
use stakefish::{Config, build};
use test_support::{App, Sql, SqlDatabase, wait_until};

/// How long a test waits for what happens in the background.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The service, the DNS that it asks, and the database that it has for itself.
struct Service {
    app: App,
    dns: Dns,
    _database: Option<SqlDatabase>,
}

impl Service {
    /// Starts it with a database in a file, once it is ready.
    async fn start(variables: &[(&str, &str)]) -> Self {
        let database = Sql::Sqlite.database().await.unwrap();
        let service = Self::start_on(database.url(), variables).await;
        Self { _database: Some(database), ..service }
    }

    /// Starts it with this database, once it is ready.
    async fn start_on(database_url: &str, variables: &[(&str, &str)]) -> Self {
        let service = Self::begin(database_url, variables).await;
        service.wait_for_readyz(200).await;
        service
    }

    /// Starts it without waiting.
    async fn begin(database_url: &str, variables: &[(&str, &str)]) -> Self {
        let dns = Dns::start().await;
        let servers = dns.addr();
        let mut all = vec![
            ("DATABASE_URL", database_url),
            ("DNS_SERVERS", servers.as_str()),
            ("LOOKUP_RATE_LIMIT", "none"),
        ];
        // An empty one has its default.
        all.retain(|(name, _)| variables.iter().all(|(other, _)| other != name));
        all.extend(variables);
        let app = App::start(&all, Config::load, build);
        Self { app, dns, _database: None }
    }

    async fn wait_for_readyz(&self, status: u16) {
        let what = format!("/readyz answers {status}");
        wait_until(&what, TIMEOUT, async || self.app.get("/readyz").await.status() == status).await;
    }

    /// Waits until `/readyz` names just this check.
    async fn wait_for_missing(&self, check: &str) {
        let missing = serde_json::json!([check]);
        wait_until(&format!("{check} is missing"), TIMEOUT, async || {
            let problem = self.app.get("/readyz").await.json::<Value>().await;
            problem.is_ok_and(|problem| problem["checks"] == missing)
        })
        .await;
    }

    async fn post(&self, path: &str, body: &Value) -> Response {
        self.app.post(path, "application/json", body.to_string()).await
    }

    async fn look_up(&self, domain: &str) -> Response {
        self.post("/tools/lookup", &json!({ "domain": domain })).await
    }

    /// The addresses of a name that has some.
    async fn addresses(&self, domain: &str) -> Vec<String> {
        let answer = self.look_up(domain).await;
        assert_eq!(answer.status(), 200, "{domain}");
        let answer: Value = answer.json().await.unwrap();
        let addresses = answer["addresses"].as_array().unwrap().iter();
        addresses.map(|address| address["ip"].as_str().unwrap().to_owned()).collect()
    }
}
