//! Hosts whose clocks differ by an hour.

use serde_json::{Value, json};
use test_support::{Binary, Mode, shifted_clock, wait_until};

use crate::faults::{Servers, pending};
use crate::{PROGRAM, Stores, TIMEOUT, job_of};

const OWN: [(&str, &str); 3] = [("HOST", "127.0.0.1"), ("PORT", "0"), ("WORKERS", "1")];

/// A process of ours whose clock is off, once it listens.
struct Process {
    binary: Binary,
    url: String,
}

impl Process {
    async fn start(
        command: &str,
        stores: &Stores,
        variables: &[(&str, &str)],
        offset: &'static str,
    ) -> Option<Self> {
        let clock = shifted_clock(offset)?;
        let clock = clock.each_ref().map(|(name, value)| (*name, value.as_str()));
        let all = [&OWN[..], &stores.variables(), variables, &clock].concat();
        let binary = Binary::start(PROGRAM, &[command], &all);
        let url = format!("http://{}", binary.addr().await);
        let process = Self { binary, url };
        let ready = async || process.get("/readyz").await.status() == 200;
        wait_until("it is ready", TIMEOUT, ready).await;
        Some(process)
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        client().get(format!("{}{path}", self.url)).send().await.unwrap()
    }

    async fn post(&self, datum: &str) -> String {
        let request = client().post(format!("{}/multivac/data", self.url));
        let answer = request.json(&json!({ "data": datum })).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        job_of(&answer)
    }

    async fn delete(&self) -> String {
        let request = client().delete(format!("{}/multivac/zzz", self.url));
        request.send().await.unwrap().text().await.unwrap()
    }

    async fn wait_for(&self, job: &str, status: &str) {
        wait_until(&format!("{job} is {status}"), TIMEOUT, async || {
            let job: Value = self.get(job).await.json().await.unwrap();
            job["status"] == status
        })
        .await;
    }
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().build().unwrap()
}

#[tokio::test]
async fn servers_whose_clocks_differ_keep_the_order_of_acceptance() {
    let Some(servers) = Servers::start().await else { return };
    let stores = servers.stores();
    let (Some(ahead), Some(behind)) = (
        Process::start("server", &stores, &[], "+1h").await,
        Process::start("server", &stores, &[], "-1h").await,
    ) else {
        return;
    };
    let mut jobs = Vec::new();
    for number in 0..10 {
        let server = [&ahead, &behind][number % 2];
        jobs.push(server.post(&number.to_string()).await);
    }
    let queue: Value = ahead.get("/multivac/queue").await.json().await.unwrap();
    assert!(queue["oldest_age_seconds"].as_f64().unwrap() < 1800.0, "{queue}");

    let worker = Process::start("worker", &stores, &[], "-1h").await.unwrap();
    for job in &jobs {
        behind.wait_for(job, "stored").await;
    }
    for number in 0..10 {
        let server = [&behind, &ahead][number % 2];
        assert_eq!(server.get("/multivac").await.text().await.unwrap(), number.to_string());
        assert_eq!(server.delete().await, "Deleted!");
    }
    // A tombstone is known whatever the clock of who asks.
    ahead.wait_for(&jobs[0], "deleted").await;
    let metrics = worker.get("/metrics").await.text().await.unwrap();
    let sum = "multivac_job_storage_duration_seconds_sum ";
    let sum = metrics.lines().find_map(|line| line.strip_prefix(sum)).unwrap();
    assert!(sum.parse::<f64>().unwrap() < 1800.0, "{sum}");
}

#[tokio::test]
async fn a_worker_whose_clock_is_ahead_takes_no_job_from_one_that_works() {
    let variables = [("JOB_CLAIM_AFTER", "10m")];
    let Some((servers, multivac)) = Servers::with_server(&variables).await else { return };
    let (proxy, _busy) = servers.start_worker_through_proxy(&variables).await;
    proxy.set(Mode::Stall).await;
    let held = multivac.add("held").await;
    let mut redis = servers.redis().await;
    wait_until("it is held", TIMEOUT, async || pending(&mut redis).await.len() == 1).await;

    let Some(_ahead) = Process::start("worker", &servers.stores(), &variables, "+1h").await else {
        return;
    };
    // It looks for jobs to take over before it stores another one.
    let other = multivac.add("other").await;
    multivac.wait_for(&other, "stored").await;

    let held_still = pending(&mut redis).await;
    assert!(
        held_still.iter().any(|(id, times)| held.ends_with(id) && *times == 1),
        "{held_still:?}"
    );
    proxy.heal().await;
    multivac.wait_for(&held, "stored").await;
    assert_eq!(multivac.queue().await["stored"], 2);
}

#[tokio::test]
async fn a_worker_whose_clock_is_behind_takes_over_from_a_dead_one() {
    let variables = [("JOB_CLAIM_AFTER", "1s")];
    let Some((servers, multivac)) = Servers::with_server(&variables).await else { return };
    let mut redis = servers.redis().await;
    let job = multivac.add("one").await;
    crate::faults::take_and_die(&mut redis).await;

    let Some(_behind) = Process::start("worker", &servers.stores(), &variables, "-1h").await else {
        return;
    };

    multivac.wait_for(&job, "stored").await;
}

#[tokio::test]
async fn a_clock_that_was_set_back_delays_no_job_of_the_embedded_store() {
    let stores = Stores::embedded();
    let variables = [("JOB_MAX_ATTEMPTS", "9")];
    let Some(mut ahead) = Process::start("server", &stores, &variables, "+1h").await else {
        return;
    };
    let mut file = crate::embedded::open(&stores).await;
    let refuse =
        "CREATE TRIGGER refuse BEFORE INSERT ON entropy BEGIN SELECT RAISE(ABORT, 'no'); END";
    sqlx::Executor::execute(&mut file, refuse).await.unwrap();
    let jobs = [ahead.post("first").await, ahead.post("second").await];
    wait_until("it was refused", TIMEOUT, async || {
        let job: Value = ahead.get(&jobs[1]).await.json().await.unwrap();
        job["attempts"] != 0
    })
    .await;
    ahead.binary.signal(test_support::Signal::TERM);
    assert_eq!(ahead.binary.exit(TIMEOUT).await.code(), Some(0));
    sqlx::Executor::execute(&mut file, "DROP TRIGGER refuse").await.unwrap();

    let multivac = stores.start(&variables).await;
    let third = multivac.add("third").await;

    for job in jobs.iter().chain([&third]) {
        multivac.wait_for(job, "stored").await;
    }
    for datum in ["first", "second", "third"] {
        assert_eq!(multivac.answer().await, datum);
        assert_eq!(multivac.delete().await, "Deleted!");
    }
}
