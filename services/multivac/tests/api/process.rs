//! The program: its commands, its configuration, its end.

use std::path::Path;

use test_support::{Binary, Durability, MongoDb, RawConnection, Redis, Signal};

use crate::{PROGRAM, Stores, TIMEOUT};

async fn refused(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let mut binary = Binary::start(PROGRAM, arguments, variables);
    assert_eq!(binary.exit(TIMEOUT).await.code(), Some(78), "{arguments:?} {variables:?}");
    binary.error_lines().join("\n")
}

#[tokio::test]
async fn what_does_not_go_together_is_named() {
    let redis = ("REDIS_URL", "redis://user:hush@localhost");
    let mongo = ("MONGO_URL", "mongodb://user:hush@localhost");
    for (arguments, variables, names) in [
        (&["server"][..], &[redis][..], &["MONGO_URL"][..]),
        (&[], &[mongo], &["REDIS_URL"]),
        (&["worker"], &[], &["REDIS_URL", "MONGO_URL"]),
        (&["worker"], &[redis], &["MONGO_URL"]),
        (&["dead-letters", "list"], &[redis], &["MONGO_URL"]),
        (&[], &[("AUTH_USERNAME", "hush")], &["AUTH_PASSWORD"]),
        (&[], &[("AUTH_PASSWORD", "hush")], &["AUTH_USERNAME"]),
        (&[], &[("AUTH_USERNAME", "hu:sh"), ("AUTH_PASSWORD", "hush")], &["AUTH_USERNAME"]),
        (&[], &[("REDIS_URL", "hush"), ("MONGO_URL", "hush")], &["REDIS_URL", "MONGO_URL"]),
        (&[], &[redis, mongo, ("BODY_LIMIT", "16MiB")], &["BODY_LIMIT"]),
        (
            &[],
            &[("JOB_CLAIM_AFTER", "1ms"), ("TOMBSTONE_TTL", "0s")],
            &["JOB_CLAIM_AFTER", "TOMBSTONE_TTL"],
        ),
    ] {
        let said = refused(arguments, variables).await;
        for name in names {
            assert!(said.contains(&format!("{name}: ")), "{variables:?} {said}");
        }
        assert_eq!(said.lines().skip(1).count(), names.len(), "{said}");
        assert!(!said.contains("hush"), "{said}");
    }
}

#[tokio::test]
async fn the_configuration_is_printed_without_its_secrets() {
    let variables = [
        ("REDIS_URL", "redis://user:hush@localhost"),
        ("MONGO_URL", "mongodb://user:hush@localhost"),
        ("AUTH_USERNAME", "multi"),
        ("AUTH_PASSWORD", "hush"),
    ];
    let printed = Binary::config(PROGRAM, &variables).await;
    for line in [
        "PORT=5000",
        "REDIS_URL=********",
        "MONGO_URL=********",
        "AUTH_PASSWORD=********",
        "JOB_CLAIM_AFTER=30s",
        "QUEUE_MAX_LENGTH=1000000",
        "TOMBSTONE_TTL=1day",
    ] {
        assert!(printed.contains(&line.to_owned()), "{line} {printed:?}");
    }
    assert!(!printed.join("\n").contains("hush"));
}

fn log_of(folder: &Path, file: &str) -> String {
    std::fs::read_to_string(folder.join(file)).unwrap_or_default()
}

#[tokio::test]
async fn sigterm_ends_server_and_worker_in_order_and_loses_nothing() {
    let Some(stores) = Stores::distributed().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let more = [("JOB_CLAIM_AFTER", "1s"), ("LOG_DIR", folder.path().to_str().unwrap())];
    let variables = [&stores.variables(), &more[..]].concat();
    let mut server = Binary::serve(PROGRAM, &["server"], &variables);
    let mut worker = Binary::serve(PROGRAM, &["worker"], &variables);
    let addr = server.addr().await;
    worker.addr().await;
    let mut connection = RawConnection::open(addr).await;
    for number in 0..200 {
        let body = format!("{{\"data\":\"{number}\"}}");
        let head = format!(
            "POST /multivac/data HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        connection.send(head + &body).await;
        assert_eq!(connection.response().await.unwrap().status, 200);
        if number == 100 {
            worker.signal(Signal::TERM);
        }
    }
    server.signal(Signal::TERM);

    assert_eq!(worker.exit(TIMEOUT).await.code(), Some(0));
    assert_eq!(server.exit(TIMEOUT).await.code(), Some(0));
    for (file, other) in [("server.log", "worker.log"), ("worker.log", "server.log")] {
        assert!(log_of(folder.path(), file).contains("\"Stopped\""), "{file}");
        assert!(folder.path().join(other).exists());
    }
    let multivac = stores.start(&[("JOB_CLAIM_AFTER", "1s")]).await;
    test_support::wait_until("all are stored", TIMEOUT, async || {
        let queue = multivac.queue().await;
        (queue["length"].as_u64(), queue["stored"].as_u64()) == (Some(0), Some(200))
    })
    .await;
}

/// The lines of a log that tell of something wrong.
fn complaints(binary: &Binary) -> Vec<serde_json::Value> {
    let is_bad = |line: &serde_json::Value| line["level"] == "WARN" || line["level"] == "ERROR";
    binary.logs().into_iter().filter(is_bad).collect()
}

async fn expect_quiet(stores: &Stores, commands: &[&str]) {
    let variables = stores.variables();
    let mut binaries: Vec<Binary> =
        commands.iter().map(|command| Binary::serve(PROGRAM, &[command], &variables)).collect();
    let mut server = RawConnection::open(binaries[0].addr().await).await;
    for binary in &binaries {
        let url = format!("http://{}/readyz", binary.addr().await);
        let ready = async || reqwest::get(&url).await.is_ok_and(|answer| answer.status() == 200);
        test_support::wait_until("it is ready", TIMEOUT, ready).await;
    }
    let body = "{\"data\":\"datum\"}";
    let head = format!(
        "POST /multivac/data HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    server.send(head + body).await;
    assert_eq!(server.response().await.unwrap().status, 200);
    drop(server);

    for binary in &mut binaries {
        binary.signal(Signal::TERM);
        assert_eq!(binary.exit(TIMEOUT).await.code(), Some(0));
        assert_eq!(complaints(binary), Vec::<serde_json::Value>::new());
    }
}

#[tokio::test]
async fn an_orderly_start_and_stop_warns_of_nothing() {
    // A worker is told of the stop at any point of its work.
    for _ in 0..5 {
        expect_quiet(&Stores::embedded(), &["server"]).await;
    }
    if let Some(stores) = Stores::distributed().await {
        expect_quiet(&stores, &["server", "worker"]).await;
    }
}

#[tokio::test]
async fn a_worker_whose_store_is_silent_ends_in_time() {
    let (Some(redis), Some(mut mongo)) =
        (Redis::start_own(Durability::Durable).await, MongoDb::start_own().await)
    else {
        return;
    };
    let stores = Stores::Own { redis: redis.url().into(), mongo: mongo.url().into() };
    let multivac = stores.start_without_worker(&[]).await;
    let mut worker = Binary::serve(PROGRAM, &["worker"], &stores.variables());
    worker.addr().await;
    multivac.store(&["datum"]).await;
    mongo.server.freeze();
    multivac.add("held").await;
    let held = async || multivac.server.metric("multivac_queue_length").await == Some(1.0);
    test_support::wait_until("it is held", TIMEOUT, held).await;

    worker.signal(Signal::TERM);

    assert_eq!(worker.exit(TIMEOUT).await.code(), Some(0));
}
