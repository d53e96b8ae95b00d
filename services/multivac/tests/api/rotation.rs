//! Credentials of clients and of the stores, changed while data are fed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use multivac::{Config, build, build_worker};
use redis::aio::MultiplexedConnection;
use reqwest::Client;
use serde_json::json;
use test_support::{
    App, Durability, Load, MongoDb, RELOAD_INTERVAL, Redis, SecretFile, reloads, replace,
    rotations, wait_until,
};

use crate::{Multivac, Stores, TIMEOUT, ready};

/// Clients that feed data, and the number of those that were accepted.
fn load(server: &App) -> (Load, Arc<AtomicU64>) {
    let (client, url) = (Client::builder().build().unwrap(), server.url("/multivac/data"));
    let fed = Arc::new(AtomicU64::new(0));
    let accepted = Arc::clone(&fed);
    let load = Load::start(2, move || {
        let (client, url, fed) = (client.clone(), url.clone(), Arc::clone(&fed));
        async move {
            let request = client.post(url).json(&json!({ "data": "whatever" }));
            let answer = request.send().await.map_err(|error| error.to_string())?;
            if answer.status() != 200 {
                return Err(format!("{} {}", answer.status(), answer.text().await.unwrap()));
            }
            fed.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    });
    (load, accepted)
}

/// Ends the load, and expects each datum that was accepted to be stored once.
async fn expect_all_stored(multivac: &Multivac, load: Load, fed: &AtomicU64) {
    assert!(load.end().await > u64::from(rotations()));
    multivac.wait_until_settled().await;
    assert_eq!(multivac.count().await, fed.load(Ordering::Relaxed), "each is stored once");
}

/// Server and worker with these variables, and the database of a test.
async fn start(stores: [(&str, &str); 2], mongo: &str) -> Multivac {
    let [redis_url, mongo_url] = stores;
    let database = ("MONGO_DB_NAME", crate::database_of(mongo));
    let variables = [redis_url, mongo_url, database, RELOAD_INTERVAL];
    let server = App::start(&variables, Config::load, build);
    let worker = App::start(&variables, Config::load_worker, build_worker);
    ready(&server).await;
    ready(&worker).await;
    Multivac { server, worker: Some(worker) }
}

async fn acl(redis: &mut MultiplexedConnection, words: &[&str]) {
    redis::cmd("ACL").arg(words).exec_async(redis).await.unwrap();
}

fn with_user(redis: &Redis, user: &str, password: &str) -> String {
    let mut url = url::Url::parse(redis.url()).unwrap();
    url.set_username(user).unwrap();
    url.set_password(Some(password)).unwrap();
    url.into()
}

#[tokio::test]
async fn users_of_redis_take_turns_again_and_again_and_the_old_one_is_revoked() {
    let Some(redis) = Redis::start_own(Durability::Fast).await else { return };
    let Some(mongo) = MongoDb::shared().await else { return };
    let mongo = mongo.database();
    let admin = redis::Client::open(redis.url()).unwrap();
    let mut admin = admin.get_multiplexed_async_connection().await.unwrap();
    acl(&mut admin, &["SETUSER", "user-0", "on", ">p0", "~*", "&*", "+@all"]).await;
    let file = SecretFile::new(&with_user(&redis, "user-0", "p0"));
    let path = file.variable();
    let urls = [("REDIS_URL_FILE", &*path), ("MONGO_URL", mongo.url())];
    let multivac = start(urls, mongo.url()).await;
    let apps = [&multivac.server, multivac.worker.as_ref().unwrap()];
    let (load, fed) = load(&multivac.server);

    for n in 1..=u64::from(rotations()) {
        let (old, new) = (format!("user-{}", n - 1), format!("user-{n}"));
        let wrong = [with_user(&redis, &new, "wrong"), "redis://".into(), "a\nb".into()];
        let wrong = &wrong[usize::try_from(n).unwrap() % wrong.len()];
        replace(&file, wrong, (&apps, "REDIS_URL", "refused")).await;
        let password = format!(">p{n}");
        acl(&mut admin, &["SETUSER", &new, "on", &password, "~*", "&*", "+@all"]).await;
        let url = with_user(&redis, &new, &format!("p{n}"));
        replace(&file, &url, (&apps, "REDIS_URL", "taken")).await;
        let of_old = format!(" user={old} ");
        wait_until("the old connections have ended", TIMEOUT, async || {
            let list: String =
                redis::cmd("CLIENT").arg("LIST").query_async(&mut admin.clone()).await.unwrap();
            !list.contains(&of_old)
        })
        .await;
        acl(&mut admin, &["DELUSER", &old]).await;
    }

    expect_all_stored(&multivac, load, &fed).await;
}

#[tokio::test]
async fn a_url_of_mongodb_changes_again_and_again_and_nothing_is_lost() {
    let Some(stores) = Stores::distributed().await else { return };
    let Stores::Distributed { redis, mongo } = &stores else { unreachable!() };
    let url = |n: u64| {
        let separator = if mongo.url().contains('?') { '&' } else { '?' };
        format!("{}{separator}appName=number-{n}", mongo.url())
    };
    let file = SecretFile::new(&url(0));
    let path = file.variable();
    let urls = [("REDIS_URL", redis.url()), ("MONGO_URL_FILE", &*path)];
    let multivac = start(urls, mongo.url()).await;
    let apps = [&multivac.server, multivac.worker.as_ref().unwrap()];
    let (load, fed) = load(&multivac.server);

    for n in 1..=u64::from(rotations()) {
        let wrong = ["mongodb://", "http://host", "mongodb://a\nmongodb://b"];
        replace(
            &file,
            wrong[usize::try_from(n).unwrap() % wrong.len()],
            (&apps, "MONGO_URL", "refused"),
        )
        .await;
        replace(&file, &url(n), (&apps, "MONGO_URL", "taken")).await;
    }

    expect_all_stored(&multivac, load, &fed).await;
}

#[tokio::test]
async fn another_server_is_refused_while_anything_waits() {
    let (Some(one), Some(other)) =
        (Redis::start_own(Durability::Fast).await, Redis::start_own(Durability::Fast).await)
    else {
        return;
    };
    let (Some(mongo), Some(other_mongo)) = (MongoDb::start_own().await, MongoDb::start_own().await)
    else {
        return;
    };
    let (redis_file, mongo_file) = (SecretFile::new(one.url()), SecretFile::new(mongo.url()));
    let (redis_path, mongo_path) = (redis_file.variable(), mongo_file.variable());
    let variables =
        [("REDIS_URL_FILE", &*redis_path), ("MONGO_URL_FILE", &*mongo_path), RELOAD_INTERVAL];
    let server = App::start(&variables, Config::load, build);
    ready(&server).await;
    let mut multivac = Multivac { server, worker: None };
    let job = multivac.add("waits").await;

    let apps = [&multivac.server];
    replace(&redis_file, other.url(), (&apps, "REDIS_URL", "refused")).await;
    replace(&mongo_file, other_mongo.url(), (&apps, "MONGO_URL", "refused")).await;

    // Nothing has moved: it is stored where it was to be.
    redis_file.put(one.url());
    mongo_file.put(mongo.url());
    let worker = App::start(&variables, Config::load_worker, build_worker);
    ready(&worker).await;
    multivac.worker = Some(worker);
    multivac.wait_for(&job, "stored").await;
    // The queue is empty, and may move; the store may when its last datum was deleted.
    let apps = [&multivac.server, multivac.worker.as_ref().unwrap()];
    replace(&redis_file, other.url(), (&apps, "REDIS_URL", "taken")).await;
    replace(&mongo_file, other_mongo.url(), (&apps, "MONGO_URL", "refused")).await;
    let taken = reloads(&multivac.server, "MONGO_URL", "taken").await;
    assert_eq!(multivac.delete().await, "Deleted!");
    wait_until("the other store is taken over", TIMEOUT, async || {
        reloads(&multivac.server, "MONGO_URL", "taken").await > taken
    })
    .await;
    assert_eq!(multivac.answer().await, crate::INSUFFICIENT);
}

#[tokio::test]
async fn a_password_of_clients_is_turned_and_nobody_is_refused() {
    let stores = Stores::embedded();
    let file = SecretFile::new("p0\n");
    let path = file.variable();
    let variables = [("AUTH_USERNAME", "ann"), ("AUTH_PASSWORD_FILE", &path), RELOAD_INTERVAL];
    let multivac = stores.start(&variables).await;
    let password = Arc::new(std::sync::Mutex::new("p0".to_owned()));
    let (client, url) = (Client::builder().build().unwrap(), multivac.server.url("/multivac/zzz"));
    let load = Load::start(2, {
        let password = Arc::clone(&password);
        move || {
            // A body that is none is refused after the credentials.
            let request = client.put(url.replace("zzz", "data"));
            let request = request.basic_auth("ann", Some(password.lock().unwrap().clone()));
            async move {
                let status = request.send().await.map_err(|error| error.to_string())?.status();
                if status == 400 { Ok(()) } else { Err(status.to_string()) }
            }
        }
    });
    let apps = [&multivac.server];

    for n in 1..=u64::from(rotations()) {
        let (old, new) = (format!("p{}", n - 1), format!("p{n}"));
        replace(&file, &format!("{new}\n{old}\n"), (&apps, "AUTH_PASSWORD", "taken")).await;
        *password.lock().unwrap() = new.clone();
        load.next_round().await;
        replace(&file, "\n", (&apps, "AUTH_PASSWORD", "refused")).await;
        replace(&file, &format!("{new}\n"), (&apps, "AUTH_PASSWORD", "taken")).await;
    }

    assert!(load.end().await > u64::from(rotations()));
    let request = multivac.server.request(reqwest::Method::DELETE, "/multivac/zzz");
    assert_eq!(
        request
            .basic_auth("ann", Some(format!("p{}", rotations() - 1)))
            .send()
            .await
            .unwrap()
            .status(),
        401
    );
}
