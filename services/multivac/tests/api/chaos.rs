//! The proof: jobs are fed while all that has a part in it is killed and started again.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use mongodb::bson::{Document, doc};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use test_support::{Binary, Durability, MongoDb, Redis, Signal, free_port, wait_until};
use tokio::time::sleep;

use crate::{Entropy, PROGRAM, Stores};

/// How many clients feed at once.
const CLIENTS: usize = 16;

/// How many data are deleted at the end, one by one.
const LAST_DELETES: usize = 1000;

/// How many data are left for that.
const LEFT: usize = 2 * LAST_DELETES;

/// How long what was fed may take to be stored.
const TIMEOUT: Duration = Duration::from_mins(5);

/// How long a client waits before it goes on after a failure.
const PAUSE: Duration = Duration::from_millis(20);

/// A process of ours that is started again on the same port.
struct Process {
    arguments: &'static [&'static str],
    port: String,
    variables: Vec<(String, String)>,
    binary: Binary,
}

impl Process {
    fn start(arguments: &'static [&'static str], stores: &Stores) -> Self {
        let variables = stores.variables().into_iter();
        let variables =
            variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let port = free_port().to_string();
        let variables: Vec<_> = variables;
        let binary = Self::run(arguments, &port, &variables);
        Self { arguments, port, variables, binary }
    }

    fn run(arguments: &[&str], port: &str, variables: &[(String, String)]) -> Binary {
        let own =
            [("HOST", "127.0.0.1"), ("WORKERS", "1"), ("JOB_CLAIM_AFTER", "1s"), ("PORT", port)];
        let given = variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Binary::start(PROGRAM, arguments, &given.chain(own).collect::<Vec<_>>())
    }

    async fn kill_and_restart(&mut self, pause: Duration) {
        self.binary.signal(Signal::KILL);
        self.binary.exit(crate::TIMEOUT).await;
        sleep(pause).await;
        self.binary = Self::run(self.arguments, &self.port, &self.variables);
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

/// All that has a part in it.
struct Cluster {
    servers: Option<(Redis, MongoDb)>,
    stores: Stores,
    processes: Vec<Process>,
}

impl Cluster {
    /// Two servers and two workers with Redis and MongoDB.
    async fn distributed() -> Option<Self> {
        let redis = Redis::start_own(Durability::Durable).await?;
        let mongo = MongoDb::start_own().await?;
        let stores = Stores::Own { redis: redis.url().into(), mongo: mongo.url().into() };
        let commands: [&[&str]; 4] = [&["server"], &["server"], &["worker"], &["worker"]];
        let processes = commands.map(|arguments| Process::start(arguments, &stores)).into();
        Some(Self { servers: Some((redis, mongo)), stores, processes })
    }

    /// One server with a file.
    fn embedded() -> Self {
        let stores = Stores::embedded();
        let processes = vec![Process::start(&["server"], &stores)];
        Self { servers: None, stores, processes }
    }

    /// Kills one of them with `kill -9` and starts it again.
    async fn strike(&mut self) {
        let pause = Duration::from_millis(rand::random_range(0..500));
        let servers = if self.servers.is_some() { 2 } else { 0 };
        let victim = rand::random_range(0..self.processes.len() + servers);
        if let Some(process) = self.processes.get_mut(victim) {
            process.kill_and_restart(pause).await;
            return;
        }
        let Some((redis, mongo)) = &mut self.servers else { return };
        let is_redis = victim == self.processes.len();
        let server = if is_redis { &mut redis.server } else { &mut mongo.server };
        server.kill();
        sleep(pause).await;
        server.restart().await;
    }

    /// The URLs of a path on the processes that answer it.
    fn urls(&self, path: &str) -> Vec<String> {
        let servers = self.processes.iter().filter(|process| process.arguments == ["server"]);
        servers.map(|server| server.url(path)).collect()
    }
}

/// What clients have seen.
#[derive(Default)]
struct Seen {
    /// The jobs of the data that were answered 200, by client in the order of their answers.
    answered: Vec<Vec<(usize, String)>>,
    /// Data whose fate their client was not told.
    unknown: HashSet<usize>,
}

/// Feeds data until `jobs` of them have been sent.
async fn feed(
    client: &Client,
    urls: &[String],
    next: &AtomicUsize,
    jobs: usize,
    seen: &Mutex<Seen>,
) {
    let mut answered = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= jobs {
            break;
        }
        loop {
            let url = &urls[rand::random_range(0..urls.len())];
            let request = client.post(url).json(&json!({ "data": number.to_string() }));
            match request.send().await {
                Ok(answer) if answer.status() == StatusCode::OK => {
                    let job = answer.headers()["location"].to_str().unwrap();
                    answered.push((number, job.rsplit('/').next().unwrap().to_owned()));
                }
                // It was never sent.
                Err(error) if error.is_connect() => {
                    sleep(PAUSE).await;
                    continue;
                }
                _ => {
                    seen.lock().unwrap().unknown.insert(number);
                    sleep(PAUSE).await;
                }
            }
            break;
        }
    }
    seen.lock().unwrap().answered.push(answered);
}

/// Deletes now and then, less often the longer it takes; returns how many were answered, and for how many that is not known.
async fn delete(
    client: &Client,
    urls: &[String],
    next: &AtomicUsize,
    jobs: usize,
) -> (usize, usize) {
    let (mut deleted, mut unknown) = (0, 0);
    while next.load(Ordering::Relaxed) < jobs {
        let url = &urls[rand::random_range(0..urls.len())];
        let asked = Instant::now();
        match client.delete(url).send().await {
            Ok(answer) if answer.status() == StatusCode::OK => match answer.text().await {
                Ok(text) => deleted += usize::from(text == "Deleted!"),
                Err(_) => unknown += 1,
            },
            Err(error) if error.is_connect() => {}
            _ => unknown += 1,
        }
        sleep(Duration::from_millis(50) + 9 * asked.elapsed()).await;
    }
    (deleted, unknown)
}

impl Stores {
    /// Leaves the oldest of the data. The stand-in for MongoDB has no index by order: with very many data,
    /// looking for the oldest takes it a second. It answers nobody while it deletes, hence a few at a time.
    async fn leave(&self, entropy: &Entropy, count: usize) {
        let Self::Own { mongo, .. } = self else { return };
        let client = mongodb::Client::with_uri_str(mongo).await.unwrap();
        let collection = client.database("multivac").collection::<Document>("entropy");
        for some in entropy.data.get(count..).unwrap_or_default().chunks(500) {
            let ids: Vec<&str> = some.iter().map(|(id, _)| id.as_str()).collect();
            collection.delete_many(doc! { "_id": { "$in": ids } }).await.unwrap();
        }
    }
}

/// How many: from a variable, else what is quick.
#[expect(clippy::disallowed_methods, reason = "a switch of the test itself, no configuration")]
fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |value| value.parse().unwrap())
}

#[tokio::test]
async fn whatever_is_killed_every_datum_is_stored_once_and_none_comes_back() {
    if let Some(cluster) = Cluster::distributed().await {
        prove(cluster).await;
    }
}

#[tokio::test]
async fn the_embedded_store_loses_nothing_to_kill_9_either() {
    prove(Cluster::embedded()).await;
}

#[expect(clippy::print_stdout, reason = "the figures are what `make chaos` is for")]
async fn prove(mut cluster: Cluster) {
    // The client's TLS provider; another test may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (jobs, kills) = (number("CHAOS_JOBS", 5000), number("CHAOS_KILLS", 5));
    let client = Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
    let (data, zzz, queue) = (
        cluster.urls("/multivac/data"),
        cluster.urls("/multivac/zzz"),
        cluster.urls("/multivac/queue"),
    );
    let (next, seen) = (AtomicUsize::new(0), Mutex::new(Seen::default()));

    let feeding = join_all((0..CLIENTS).map(|_| feed(&client, &data, &next, jobs, &seen)));
    let deleting = delete(&client, &zzz, &next, jobs);
    let mut resting = Vec::new();
    let striking = async {
        for kill in 1..=kills {
            let due = jobs * kill / (kills + 1);
            wait_until("more was fed", TIMEOUT, async || next.load(Ordering::Relaxed) >= due).await;
            cluster.strike().await;
            // Those that rest now must do so for ever.
            resting.extend(cluster.stores.read_entropy().await.tombstones);
        }
    };
    let (_, (deleted, deletes_unknown), ()) = tokio::join!(feeding, deleting, striking);
    wait_until("all is stored", TIMEOUT, async || {
        let Ok(answer) = client.get(&queue[0]).send().await else { return false };
        let queue: Value = answer.json().await.unwrap_or_default();
        queue["length"] == 0
    })
    .await;

    let entropy = cluster.stores.read_entropy().await;
    let seen = seen.into_inner().unwrap();
    let stored: HashMap<&str, (usize, &str)> = entropy
        .data
        .iter()
        .enumerate()
        .map(|(at, (id, datum))| (id.as_str(), (at, datum.as_str())))
        .collect();
    let tombstones: HashSet<&String> = entropy.tombstones.iter().collect();
    let answered = || seen.answered.iter().flatten();
    let lost = answered()
        .filter(|(number, id)| {
            let datum = stored.get(id.as_str()).map(|(_, datum)| *datum);
            datum != Some(&number.to_string()) && !(datum.is_none() && tombstones.contains(id))
        })
        .count();
    let distinct: HashSet<&str> = entropy.data.iter().map(|(_, datum)| datum.as_str()).collect();
    let of_deleted: HashSet<String> = answered()
        .filter(|(_, id)| tombstones.contains(id))
        .map(|(number, _)| number.to_string())
        .collect();
    let duplicated = entropy.data.len() - distinct.len();
    let resurrected = distinct.iter().filter(|datum| of_deleted.contains(**datum)).count()
        + resting.iter().filter(|id| !tombstones.contains(id)).count();
    println!(
        "{jobs} jobs, {kills} kills, {} answers lacking, {deleted} deleted: \
         {lost} lost, {duplicated} duplicated, {resurrected} resurrected",
        seen.unknown.len()
    );
    assert_eq!((lost, duplicated, resurrected), (0, 0, 0));
    assert!(answered().count() + seen.unknown.len() == jobs && answered().count() > jobs / 2);
    assert!(entropy.data.len() + tombstones.len() <= jobs, "nothing was invented");
    assert!(
        (deleted..=deleted + deletes_unknown).contains(&tombstones.len()),
        "{}",
        tombstones.len()
    );
    for client in &seen.answered {
        let places: Vec<_> = client.iter().filter_map(|(_, id)| stored.get(id.as_str())).collect();
        assert!(places.is_sorted_by_key(|(at, _)| at), "the order is that of acceptance");
    }

    cluster.stores.leave(&entropy, LEFT).await;
    let at_the_end = LAST_DELETES.min(entropy.data.len() - 1);
    for _ in 0..at_the_end {
        assert_eq!(client.delete(&zzz[0]).send().await.unwrap().text().await.unwrap(), "Deleted!");
    }
    let oldest = cluster.processes[0].url("/multivac");
    let oldest = client.get(oldest).send().await.unwrap().text().await.unwrap();
    assert_eq!(oldest, entropy.data[at_the_end].1);
}
