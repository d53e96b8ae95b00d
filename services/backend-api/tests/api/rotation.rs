//! The key of the external service, turned on both sides, one after the other.
#![expect(clippy::disallowed_methods, reason = "the external service ends with its test")]

use std::sync::{Arc, Mutex};

use backend_api::{Config, build};
use reqwest::Client;
use test_support::{App, Load, RELOAD_INTERVAL, SecretFile, replace};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use crate::DOWNLOAD;

const ROTATIONS: usize = 100;

/// An external service that accepts some keys; returns its URL.
async fn external(accepted: Arc<Mutex<Vec<String>>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/logs", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let accepted = Arc::clone(&accepted);
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut key = String::new();
                let mut line = String::new();
                while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
                    if let Some(("authorization", value)) = line.trim_end().split_once(": ") {
                        value.strip_prefix("Bearer ").unwrap().clone_into(&mut key);
                    }
                    if line == "\r\n" {
                        let known = accepted.lock().unwrap().contains(&key);
                        let status = if known { "200 OK" } else { "401 Unauthorized" };
                        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok");
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                    line.clear();
                }
            });
        }
    });
    url
}

/// The service with keys in a file, before an external service that accepts this one.
async fn start(keys: &str, accepted: &str) -> (App, SecretFile, Arc<Mutex<Vec<String>>>) {
    let accepted = Arc::new(Mutex::new(vec![accepted.to_owned()]));
    let url = external(Arc::clone(&accepted)).await;
    let file = SecretFile::new(keys);
    let path = file.variable();
    let variables =
        [("EXTERNAL_API_URL", &*url), ("EXTERNAL_INTEGRATION_KEY_FILE", &path), RELOAD_INTERVAL];
    (App::start(&variables, Config::load, build), file, accepted)
}

#[tokio::test]
async fn a_key_is_turned_a_hundred_times_and_no_call_fails() {
    let (app, file, accepted) = start("key-0\n", "key-0").await;
    let (client, own) = (Client::builder().build().unwrap(), app.url(DOWNLOAD));
    let load = Load::start(4, move || {
        let (client, own) = (client.clone(), own.clone());
        async move {
            let status = client.get(&own).send().await.map_err(|error| error.to_string())?.status();
            if status == 200 { Ok(()) } else { Err(status.to_string()) }
        }
    });
    let (secret, apps) = ("EXTERNAL_INTEGRATION_KEY", [&app]);

    for n in 1..=ROTATIONS {
        let (old, new) = (format!("key-{}", n - 1), format!("key-{n}"));
        if n % 2 == 0 {
            // The other side first, which accepts both for a while.
            accepted.lock().unwrap().push(new.clone());
            replace(&file, "no header has this: \u{7f}\n", (&apps, secret, "refused")).await;
            replace(&file, &format!("{new}\n"), (&apps, secret, "taken")).await;
        } else {
            // This side first: with both, and a wrong one in between.
            replace(&file, &format!("{new}\n{old}\n"), (&apps, secret, "taken")).await;
            replace(&file, "wrong\n", (&apps, secret, "taken")).await;
            replace(&file, &format!("{new}\n{old}\n"), (&apps, secret, "taken")).await;
            accepted.lock().unwrap().push(new.clone());
        }
        // A call that began before the change has ended when this one has.
        assert_eq!(app.get(DOWNLOAD).await.status(), 200);
        if n % 10 == 0 {
            accepted.lock().unwrap().drain(..10);
        }
    }

    assert!(load.end().await > ROTATIONS as u64);
}

#[tokio::test]
async fn a_key_that_no_one_accepts_is_a_502() {
    let (app, file, _accepted) = start("wrong\n", "right").await;

    assert_eq!(app.get(DOWNLOAD).await.status(), 502);
    replace(&file, "right\n", (&[&app], "EXTERNAL_INTEGRATION_KEY", "taken")).await;
    assert_eq!(app.get(DOWNLOAD).await.status(), 200);
}
