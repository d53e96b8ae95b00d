//! What becomes of jobs.

use std::collections::{HashMap, HashSet};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

use crate::{Stores, job_of, on_each_store};

on_each_store!(
    an_unknown_job_is_a_404,
    stored_jobs_are_counted_and_timed,
    methods_that_a_path_has_not_are_listed;
    a_job_is_queued_then_stored_then_deleted,
    the_queue_tells_how_many_wait_and_for_how_long,
    a_full_queue_takes_no_more_until_there_is_room,
    requests_at_once_get_jobs_of_their_own_while_there_is_room,
);

async fn a_job_is_queued_then_stored_then_deleted(stores: Stores) {
    let multivac = stores.start_without_worker(&[]).await;
    let job = multivac.add("datum").await;
    let id = job.rsplit('/').next().unwrap();
    let details = |status: &str| json!({ "id": id, "status": status, "attempts": 0 });

    assert_eq!(multivac.job(&job).await, details("queued"));
    let _worker = stores.start_worker(&[]).await;
    multivac.wait_for(&job, "stored").await;
    assert_eq!(multivac.job(&job).await, details("stored"));
    multivac.delete().await;
    assert_eq!(multivac.job(&job).await, details("deleted"));
}

#[tokio::test]
async fn a_job_that_moves_is_counted_once() {
    let stores = Stores::embedded();
    let multivac = stores.start(&[]).await;
    for accepted in 1..=200 {
        multivac.add("datum").await;
        assert_eq!(multivac.count().await, accepted);
    }
}

async fn an_unknown_job_is_a_404(stores: Stores) {
    let multivac = stores.start(&[]).await;
    let known = multivac.store(&["datum"]).await.remove(0);
    let padded = known.replace("jobs/", "jobs/0");
    for job in [
        "0-1",
        "1-0",
        "9999999999999-0",
        "x",
        "-",
        "-1",
        "99999999999999999999999-0",
        "%00",
        "+",
        "0",
    ]
    .map(|id| format!("/multivac/jobs/{id}"))
    .iter()
    .chain([&padded])
    {
        let answer = multivac.server.get(job).await;
        assert_eq!(answer.status(), 404, "{job}");
    }
}

async fn the_queue_tells_how_many_wait_and_for_how_long(stores: Stores) {
    let multivac = stores.start_without_worker(&[]).await;
    let empty = json!({ "length": 0, "oldest_age_seconds": 0.0, "dead_letters": 0, "stored": 0 });
    assert_eq!(multivac.queue().await, empty);

    for _ in 0..3 {
        multivac.add("datum").await;
    }
    test_support::wait_until("the oldest has an age", crate::TIMEOUT, async || {
        multivac.queue().await["oldest_age_seconds"].as_f64() > Some(0.0)
    })
    .await;
    assert_eq!(multivac.queue().await["length"], 3);
    let gauge = async || multivac.server.metric("multivac_queue_length").await == Some(3.0);
    test_support::wait_until("the gauge tells it", crate::TIMEOUT, gauge).await;

    let _worker = stores.start_worker(&[]).await;
    let done = json!({ "length": 0, "oldest_age_seconds": 0.0, "dead_letters": 0, "stored": 3 });
    test_support::wait_until("all are stored", crate::TIMEOUT, async || {
        multivac.queue().await == done
    })
    .await;
}

async fn a_full_queue_takes_no_more_until_there_is_room(stores: Stores) {
    let limit = [("QUEUE_MAX_LENGTH", "2")];
    let multivac = stores.start_without_worker(&limit).await;
    let jobs = [multivac.add("one").await, multivac.add("two").await];

    let refused = multivac.post("three").await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert!(refused.text().await.unwrap().contains("full"));

    let _worker = stores.start_worker(&limit).await;
    multivac.wait_for(&jobs[1], "stored").await;
    multivac.wait_until_settled().await;
    multivac.wait_for(&multivac.add("three").await, "stored").await;
}

async fn requests_at_once_get_jobs_of_their_own_while_there_is_room(stores: Stores) {
    let multivac = stores.start_without_worker(&[("QUEUE_MAX_LENGTH", "50")]).await;
    let post = async |number: usize| {
        let request = multivac.server.request(Method::POST, "/multivac/data");
        let key = number / 2;
        let request = request.header("idempotency-key", key).form(&[("data", key)]);
        (key, request.send().await.unwrap())
    };

    let mut jobs = HashMap::new();
    for (key, answer) in join_all((0..120).map(post)).await {
        if answer.status() == 503 {
            continue;
        }
        assert_eq!(answer.status(), 200);
        let job = job_of(&answer);
        assert_eq!(*jobs.entry(key).or_insert_with(|| job.clone()), job, "one key, one job");
    }

    assert_eq!(jobs.values().collect::<HashSet<_>>().len(), 50);
    assert_eq!(jobs.len(), 50);
    assert_eq!(multivac.queue().await["length"], 50);
    assert_eq!(multivac.server.metric("multivac_jobs_accepted_total").await, Some(50.0));
    let _worker = stores.start_worker(&[]).await;
    for job in jobs.values() {
        multivac.wait_for(job, "stored").await;
    }
    let data: HashMap<_, _> = stores.read_entropy().await.data.into_iter().collect();
    for (key, job) in jobs {
        assert_eq!(data[job.rsplit('/').next().unwrap()], key.to_string());
    }
}

async fn stored_jobs_are_counted_and_timed(stores: Stores) {
    let multivac = stores.start(&[]).await;
    multivac.store(&["one", "two"]).await;

    let worker = multivac.worker.as_ref().unwrap_or(&multivac.server);
    let timed =
        async || worker.metric("multivac_job_storage_duration_seconds_count").await == Some(2.0);
    test_support::wait_until("both are timed", crate::TIMEOUT, timed).await;
    assert_eq!(worker.metric("multivac_jobs_stored_total").await, Some(2.0));
    assert_eq!(worker.metric("multivac_jobs_repeated_total").await, Some(0.0));
    assert_eq!(multivac.server.metric("multivac_jobs_accepted_total").await, Some(2.0));
}

async fn methods_that_a_path_has_not_are_listed(stores: Stores) {
    let multivac = stores.start_without_worker(&[]).await;
    let answer = multivac.server.request(Method::DELETE, "/multivac/data").send().await.unwrap();
    assert_eq!(answer.status(), 405);
    assert_eq!(answer.headers()["allow"], "POST, PUT, OPTIONS");
}
