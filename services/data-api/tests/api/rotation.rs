//! The key of the log files, turned while clients use it.

use std::sync::{Arc, Mutex};

use reqwest::{Client, Method};
use test_support::{Load, RELOAD_INTERVAL, SecretFile, logs, reloads, replace};

use crate::Service;

const ROTATIONS: u64 = 100;

/// The service, and the file that has its keys.
async fn start_with(keys: &str) -> (SecretFile, Service) {
    let file = SecretFile::new(keys);
    let path = file.variable();
    let service = Service::start(&[("LOGS_API_KEY_FILE", &path), RELOAD_INTERVAL]).await;
    (file, service)
}

async fn status(client: &Client, url: &str, key: &str) -> u16 {
    let request = client.request(Method::GET, url).bearer_auth(key);
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_key_is_turned_a_hundred_times_and_no_client_is_refused() {
    let (file, service) = start_with("key-0\n").await;
    let (client, url) = (Client::builder().build().unwrap(), service.app.url("/logs"));
    let key = Arc::new(Mutex::new("key-0".to_owned()));
    let load = Load::start(4, {
        let (client, url, key) = (client.clone(), url.clone(), Arc::clone(&key));
        move || {
            let (client, url, key) = (client.clone(), url.clone(), key.lock().unwrap().clone());
            async move {
                let status = status(&client, &url, &key).await;
                if status == 200 { Ok(()) } else { Err(format!("{status} for {key}")) }
            }
        }
    });
    let secret = "LOGS_API_KEY";
    let taken = (&[&service.app][..], secret, "taken");
    let refused = (&[&service.app][..], secret, "refused");

    for n in 1..=ROTATIONS {
        let (old, new) = (format!("key-{}", n - 1), format!("key-{n}"));
        // Both are accepted first, then clients turn, then the old one goes.
        replace(&file, &format!("{new}\n{old}\n"), taken).await;
        *key.lock().unwrap() = new.clone();
        load.next_round().await;
        replace(
            &file,
            ["", "a space\n", "\0\0\0", "\u{e9}"][usize::try_from(n % 4).unwrap()],
            refused,
        )
        .await;
        replace(&file, &format!("{new}\n"), taken).await;
        assert_eq!(status(&client, &url, &new).await, 200);
    }

    assert!(load.end().await > ROTATIONS);
    for (key, expected) in [("key-100", 200), ("key-99", 401), ("key-0", 401)] {
        assert_eq!(status(&client, &url, key).await, expected, "{key}");
    }
    assert_eq!(reloads(&service.app, secret, "taken").await, 2 * ROTATIONS);
    // Neither log nor metric has a value.
    let metrics = service.app.get("/metrics").await.text().await.unwrap();
    assert!(!metrics.contains("key-"), "{metrics}");
    let of_secret = logs(|line| line["secret"]["name"] == secret);
    assert!(of_secret.len() as u64 >= 3 * ROTATIONS);
    assert!(of_secret.iter().all(|line| !line.to_string().contains("key-")));
    let replaced = of_secret.iter().filter(|line| line["message"] == "Secret replaced");
    for line in replaced {
        let fingerprint = line["secret"]["fingerprint"].as_str().unwrap();
        assert_ne!(line["secret"]["previous_fingerprint"], fingerprint, "{line}");
        assert!(line["secret"]["previous_age_seconds"].is_number(), "{line}");
    }
}

#[tokio::test]
async fn what_is_in_use_is_told_by_a_fingerprint_and_its_time() {
    let (file, service) = start_with("one\ntwo\n").await;
    let taken = (&[&service.app][..], "LOGS_API_KEY", "taken");
    let infos = async || {
        let metrics = service.app.get("/metrics").await.text().await.unwrap();
        let infos = metrics.lines().filter(|line| line.starts_with("secret_info{"));
        infos.map(str::to_owned).collect::<Vec<_>>()
    };

    replace(&file, "two\none\n", taken).await;
    let swapped = infos().await;
    replace(&file, "two\n", taken).await;
    let left = infos().await;

    assert_eq!(swapped.len(), 2, "{swapped:?}");
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].contains("in_use=\"yes\"") && swapped.contains(&left[0]), "{left:?}");
    let changed = "secret_changed_timestamp_seconds{secret=\"LOGS_API_KEY\"}";
    let changed = service.app.metric(changed).await.unwrap();
    let written = file.path().metadata().unwrap().modified().unwrap();
    let written = written.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((changed - written).abs() < 0.001, "{changed} {written}");
}

#[tokio::test]
async fn a_bad_file_is_warned_of_once_and_counted_each_time() {
    let (file, service) = start_with("kept\n").await;
    let refused = (&[&service.app][..], "LOGS_API_KEY", "refused");

    let before = logs(|line| line["error"] == "the file is not valid UTF-8").len();
    std::fs::write(file.path(), [0xff]).unwrap();
    replace(&file, "a b", refused).await;
    std::fs::write(file.path(), [0xff]).unwrap();
    test_support::wait_until("it is read three times", crate::TIMEOUT, async || {
        reloads(&service.app, "LOGS_API_KEY", "refused").await >= 4
    })
    .await;

    let warned = logs(|line| line["error"] == "the file is not valid UTF-8").len() - before;
    assert!((1..=2).contains(&warned), "{warned}");
    let client = Client::builder().build().unwrap();
    assert_eq!(status(&client, &service.app.url("/logs"), "kept").await, 200);
}
