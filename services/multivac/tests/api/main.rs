//! The service as its clients see it, on each of its stores.
#![expect(clippy::unwrap_used, reason = "in a test, what cannot go on is a failure")]

mod cardinality;
mod chaos;
mod clocks;
mod data;
mod documents;
mod embedded;
mod failover;
mod faults;
mod home;
mod input;
mod jobs;
mod mongod;
mod order;
mod process;
mod rotation;
mod spans;

use std::time::Duration;

use futures_util::TryStreamExt as _;
use mongodb::bson::{Document, doc};
use multivac::{Config, build, build_worker};
use reqwest::{Method, Response};
use serde_json::Value;
use sqlx::{Connection as _, SqliteConnection};
use tempfile::TempDir;
use test_support::{App, Binary, Database, MongoDb, Redis, wait_until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_multivac");

/// How long a test waits for what happens in the background.
const TIMEOUT: Duration = Duration::from_secs(30);

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const INSUFFICIENT: &str = "INSUFFICIENT DATA FOR MEANINGFUL ANSWER.";

/// Makes a test with each of the stores of functions that take them; after a semicolon those that need a
/// worker of its own, to do without it.
macro_rules! on_each_store {
    ($($name:ident),* $(,)? $(; $($with_worker:ident),* $(,)?)?) => {
        $(mod $name {
            #[tokio::test]
            async fn with_redis_and_mongodb() {
                if let Some(stores) = $crate::Stores::distributed().await {
                    super::$name(stores).await;
                }
            }

            #[tokio::test]
            async fn embedded() {
                super::$name($crate::Stores::embedded()).await;
            }
        })*
        $($(mod $with_worker {
            #[tokio::test]
            async fn with_redis_and_mongodb() {
                if let Some(stores) = $crate::Stores::distributed().await {
                    super::$with_worker(stores).await;
                }
            }
        })*)?
    };
}
use on_each_store;

/// Stores that one test has for itself.
enum Stores {
    Distributed {
        redis: Database,
        mongo: Database,
    },
    /// Servers of the test's own.
    Own {
        redis: String,
        mongo: String,
    },
    /// A file in a folder of its own.
    Embedded {
        url: String,
        folder: TempDir,
    },
}

impl Stores {
    async fn distributed() -> Option<Self> {
        let (redis, mongo) = (Redis::shared().await?, MongoDb::shared().await?);
        Some(Self::Distributed { redis: redis.database().await, mongo: mongo.database() })
    }

    fn embedded() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The service makes what is missing of the path.
        let url = format!("sqlite://{}/data/multivac.db", folder.path().display());
        Self::Embedded { url, folder }
    }

    /// The variables that lead to them.
    fn variables(&self) -> Vec<(&str, &str)> {
        match self {
            Self::Distributed { redis, mongo } => vec![
                ("REDIS_URL", redis.url()),
                ("MONGO_URL", mongo.url()),
                ("MONGO_DB_NAME", database_of(mongo.url())),
            ],
            Self::Own { redis, mongo } => vec![("REDIS_URL", redis), ("MONGO_URL", mongo)],
            Self::Embedded { url, .. } => vec![("MULTIVAC_DB", url)],
        }
    }

    /// A server and what moves its jobs.
    async fn start(&self, variables: &[(&str, &str)]) -> Multivac {
        let multivac = self.begin(variables);
        for app in [Some(&multivac.server), multivac.worker.as_ref()].into_iter().flatten() {
            ready(app).await;
        }
        multivac
    }

    /// The same, without waiting until they are ready.
    fn begin(&self, variables: &[(&str, &str)]) -> Multivac {
        let all = [&self.variables(), variables].concat();
        let server = App::start(&all, Config::load, build);
        let has_worker = !matches!(self, Self::Embedded { .. });
        let worker = has_worker.then(|| App::start(&all, Config::load_worker, build_worker));
        Multivac { server, worker }
    }

    /// A server, whose jobs wait if it has no worker in itself.
    async fn start_without_worker(&self, variables: &[(&str, &str)]) -> Multivac {
        let all = [&self.variables(), variables].concat();
        let server = App::start(&all, Config::load, build);
        ready(&server).await;
        Multivac { server, worker: None }
    }

    async fn start_worker(&self, variables: &[(&str, &str)]) -> App {
        let all = [&self.variables(), variables].concat();
        let worker = App::start(&all, Config::load_worker, build_worker);
        ready(&worker).await;
        worker
    }
}

impl Stores {
    /// What a command prints; none if it fails.
    async fn command(&self, arguments: &[&str]) -> Result<String, String> {
        let mut binary = Binary::start(PROGRAM, arguments, &self.variables());
        match binary.exit(TIMEOUT).await.code() {
            Some(0) => Ok(binary.lines().join("\n")),
            _ => Err(binary.error_lines().join("\n")),
        }
    }
}

/// The name of the database in a URL.
fn database_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap().split('?').next().unwrap()
}

async fn ready(app: &App) {
    wait_until("it is ready", TIMEOUT, async || app.get("/readyz").await.status() == 200).await;
}

/// The service.
struct Multivac {
    server: App,
    worker: Option<App>,
}

/// The path of the job that an answer to `/multivac/data` names, relative to that.
fn job_of(answer: &Response) -> String {
    let location = answer.headers()["location"].to_str().unwrap();
    location.strip_prefix("..").unwrap().to_owned()
}

impl Multivac {
    async fn post(&self, datum: &str) -> Response {
        self.server
            .post("/multivac/data", JSON, serde_json::json!({ "data": datum }).to_string())
            .await
    }

    /// Posts a datum and returns the path of its job.
    async fn add(&self, datum: &str) -> String {
        let answer = self.post(datum).await;
        assert_eq!(answer.status(), 200);
        job_of(&answer)
    }

    /// Posts data one after the other, and waits until they are stored.
    async fn store(&self, data: &[&str]) -> Vec<String> {
        let mut jobs = Vec::new();
        for datum in data {
            jobs.push(self.add(datum).await);
        }
        for job in &jobs {
            self.wait_for(job, "stored").await;
        }
        jobs
    }

    async fn job(&self, path: &str) -> Value {
        self.server.get(path).await.json().await.unwrap()
    }

    async fn wait_for(&self, job: &str, status: &str) {
        let what = format!("{job} is {status}");
        wait_until(&what, TIMEOUT, async || self.job(job).await["status"] == status).await;
    }

    /// How many jobs wait or are stored.
    async fn count(&self) -> u64 {
        let queue = self.queue().await;
        queue["length"].as_u64().unwrap() + queue["stored"].as_u64().unwrap()
    }

    /// Waits until the worker has heard that what it took is stored, and holds nothing.
    async fn wait_until_settled(&self) {
        let settled = async || self.queue().await["length"] == 0;
        wait_until("the queue is empty", TIMEOUT, settled).await;
    }

    async fn answer(&self) -> String {
        self.server.get("/multivac").await.text().await.unwrap()
    }

    async fn delete(&self) -> String {
        let answer = self.server.request(Method::DELETE, "/multivac/zzz").send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.text().await.unwrap()
    }

    async fn queue(&self) -> Value {
        self.server.get("/multivac/queue").await.json().await.unwrap()
    }
}

/// All that the store has, as it is in the database.
#[derive(Default)]
struct Entropy {
    /// Ids and data, in the order of their numbers.
    data: Vec<(String, String)>,
    /// The ids of what was deleted.
    tombstones: Vec<String>,
}

impl Stores {
    async fn read_entropy(&self) -> Entropy {
        match self {
            Self::Distributed { mongo, .. } => {
                read_mongo(mongo.url(), database_of(mongo.url())).await
            }
            Self::Own { mongo, .. } => read_mongo(mongo, "multivac").await,
            Self::Embedded { url, .. } => read_file(url).await,
        }
    }
}

async fn read_mongo(url: &str, database: &str) -> Entropy {
    let client = mongodb::Client::with_uri_str(url).await.unwrap();
    let collection = client.database(database).collection::<Document>("entropy");
    let mut documents = collection.find(doc! {}).sort(doc! { "seq": 1 }).await.unwrap();
    let mut entropy = Entropy::default();
    while let Some(document) = documents.try_next().await.unwrap() {
        let id = document.get_str("_id").unwrap().to_owned();
        match document.get_str("data") {
            Ok(datum) => entropy.data.push((id, datum.to_owned())),
            Err(_) => entropy.tombstones.push(id),
        }
    }
    entropy
}

async fn read_file(url: &str) -> Entropy {
    let mut file = SqliteConnection::connect_with(&url.parse().unwrap()).await.unwrap();
    let data = "SELECT CAST(seq AS TEXT), data FROM entropy ORDER BY seq";
    let tombstones = "SELECT CAST(seq AS TEXT) FROM tombstones";
    Entropy {
        data: sqlx::query_as(data).fetch_all(&mut file).await.unwrap(),
        tombstones: sqlx::query_scalar(tombstones).fetch_all(&mut file).await.unwrap(),
    }
}
