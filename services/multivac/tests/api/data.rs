//! Data: fed, asked for, deleted.

use std::collections::HashSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{FORM, INSUFFICIENT, Stores, job_of, on_each_store};

on_each_store!(
    nothing_stored_is_too_little_to_answer,
    the_commands_of_the_original_work,
    the_oldest_is_answered_and_deleted_first,
    put_does_what_post_does,
    delete_waits_for_a_datum_that_is_queued,
    as_many_deletes_at_once_remove_as_many_data,
    data_are_kept_byte_for_byte,
    many_at_once_are_all_stored_once,
);

async fn nothing_stored_is_too_little_to_answer(stores: Stores) {
    let multivac = stores.start(&[]).await;

    assert_eq!(multivac.answer().await, INSUFFICIENT);
    assert_eq!(multivac.delete().await, "no such data");
}

async fn the_commands_of_the_original_work(stores: Stores) {
    let multivac = stores.start(&[]).await;
    let server = &multivac.server;

    let answer = server.post("/multivac/data", FORM, "data=whatever I want to post..").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/json");
    let job = job_of(&answer);
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({ "response": "MultiVAC updated!" }));

    multivac.wait_for(&job, "stored").await;
    let answer = server.get("/multivac").await;
    assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(answer.text().await.unwrap(), "whatever I want to post..");

    let deleted = server.request(Method::DELETE, "/multivac/zzz/").send().await.unwrap();
    assert_eq!(deleted.text().await.unwrap(), "Deleted!");
    assert_eq!(multivac.answer().await, INSUFFICIENT);
}

async fn the_oldest_is_answered_and_deleted_first(stores: Stores) {
    let multivac = stores.start(&[]).await;
    multivac.store(&["first", "second", "third"]).await;

    for datum in ["first", "second", "third"] {
        assert_eq!(multivac.answer().await, datum);
        assert_eq!(multivac.delete().await, "Deleted!");
    }
    assert_eq!(multivac.answer().await, INSUFFICIENT);
}

async fn put_does_what_post_does(stores: Stores) {
    let multivac = stores.start(&[]).await;

    let request = multivac.server.request(Method::PUT, "/multivac/data");
    let answer = request.form(&[("data", "put")]).send().await.unwrap();

    assert_eq!(answer.status(), 200);
    multivac.wait_for(&job_of(&answer), "stored").await;
    assert_eq!(multivac.answer().await, "put");
}

async fn delete_waits_for_a_datum_that_is_queued(stores: Stores) {
    let multivac = stores.start(&[]).await;

    for round in 0..10 {
        multivac.add("hasty").await;
        assert_eq!(multivac.delete().await, "Deleted!", "{round}");
    }
    assert_eq!(multivac.delete().await, "no such data");
}

async fn as_many_deletes_at_once_remove_as_many_data(stores: Stores) {
    let multivac = stores.start(&[]).await;
    let data: Vec<String> = (0..20).map(|number| format!("datum {number}")).collect();
    let data: Vec<&str> = data.iter().map(String::as_str).collect();
    let jobs = multivac.store(&data).await;

    let deletes = (0..10).map(|_| multivac.delete());
    let answers = futures_util::future::join_all(deletes).await;

    assert!(answers.iter().all(|answer| answer == "Deleted!"), "{answers:?}");
    assert_eq!(multivac.answer().await, "datum 10");
    for (number, job) in jobs.iter().enumerate() {
        let status = if number < 10 { "deleted" } else { "stored" };
        assert_eq!(multivac.job(job).await["status"], status, "{number}");
    }
    assert_eq!(multivac.queue().await["stored"], 10);
}

async fn data_are_kept_byte_for_byte(stores: Stores) {
    let multivac = stores.start(&[]).await;
    for datum in [
        " \t leading and trailing \r\n",
        "<script>alert(1)</script>",
        "{\"data\":\"nested\"}",
        "e\u{301} \u{e9} \u{1f916} \u{feff}\u{200b}",
        "nul \0 in the middle",
        "$where {$gt: 1} '; DROP TABLE entropy; --",
        &"x".repeat(60_000),
    ] {
        multivac.store(&[datum]).await;
        let answer = multivac.server.get("/multivac").await;
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        assert_eq!(answer.bytes().await.unwrap(), datum.as_bytes());
        assert_eq!(multivac.delete().await, "Deleted!");
    }
}

async fn many_at_once_are_all_stored_once(stores: Stores) {
    let multivac = stores.start(&[]).await;
    let posts = (0..500).map(|number| {
        let multivac = &multivac;
        async move { multivac.add(&number.to_string()).await }
    });
    let jobs = futures_util::future::join_all(posts).await;
    assert_eq!(jobs.iter().collect::<HashSet<_>>().len(), 500);

    for job in &jobs {
        multivac.wait_for(job, "stored").await;
    }

    let mut seen = HashSet::new();
    while let answer = multivac.answer().await
        && answer != INSUFFICIENT
    {
        assert!(seen.insert(answer));
        assert_eq!(multivac.delete().await, "Deleted!");
    }
    assert_eq!(seen.len(), 500);
}
