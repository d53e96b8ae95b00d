//! The secret of tokens, turned while clients use them, in replicas that see it at different times.

use std::sync::{Arc, Mutex};

use reqwest::{Client, Method};
use test_support::{Binary, Load, RELOAD_INTERVAL, SecretFile, Sql, replace};

use crate::histories::signed;
use crate::{Service, TIMEOUT, app};

const ROTATIONS: usize = 100;

fn secret(n: usize) -> String {
    format!("secret number {n:04} of thirty-two bytes")
}

/// A token by the command, which signs with the first line of the file.
async fn token(file: &SecretFile) -> String {
    let mut binary = Binary::start(
        env!("CARGO_BIN_EXE_randomize"),
        &["token", "--subject", "alice"],
        &[("JWT_SECRET_FILE", &file.variable())],
    );
    assert!(binary.exit(TIMEOUT).await.success());
    binary.lines().join("")
}

/// The service, and the file that has its first secret.
async fn start() -> (SecretFile, Service) {
    let file = SecretFile::new(&secret(0));
    let path = file.variable();
    let variables = [("JWT_SECRET_FILE", path.as_str()), RELOAD_INTERVAL];
    let service = Service::start(Sql::Sqlite, &variables).await.unwrap();
    (file, service)
}

#[tokio::test]
async fn a_secret_is_turned_a_hundred_times_in_two_replicas_and_no_token_is_refused() {
    let (file, service) = start().await;
    // It sees each change later.
    let path = file.variable();
    let late = [("JWT_SECRET_FILE", path.as_str()), ("SECRETS_RELOAD_INTERVAL", "60ms")];
    let other = app(service.database.url(), &late);
    crate::wait_for_readyz(&other, 200).await;
    let urls = [service.app.url("/api/histories"), other.url("/api/histories")];
    let bearer = Arc::new(Mutex::new(signed(&secret(0))));
    let client = Client::builder().build().unwrap();
    let load = Load::start(2, {
        let (client, urls, bearer) = (client.clone(), urls.clone(), Arc::clone(&bearer));
        move || {
            let (client, urls) = (client.clone(), urls.clone());
            let bearer = bearer.lock().unwrap().clone();
            async move {
                for url in urls {
                    let request = client.request(Method::GET, &url).bearer_auth(&bearer);
                    let answer = request.send().await.map_err(|error| error.to_string())?;
                    if answer.status() != 200 {
                        return Err(format!("{url}: {}", answer.status()));
                    }
                }
                Ok(())
            }
        }
    });
    let replicas = [&service.app, &other];
    let taken = (&replicas[..], "JWT_SECRET", "taken");
    let refused = (&replicas[..], "JWT_SECRET", "refused");

    for n in 1..=ROTATIONS {
        let (old, new) = (secret(n - 1), secret(n));
        // What is signed with the new one is accepted wherever it is known, so it comes second first.
        replace(&file, &format!("{old}\n{new}\n"), taken).await;
        let turned = format!("{new}\n{old}\n");
        // It is used while some replicas have seen the change, and some not.
        let sign = async { *bearer.lock().unwrap() = signed(&new) };
        tokio::join!(replace(&file, &turned, taken), sign);
        load.next_round().await;
        replace(&file, "too short\n", refused).await;
    }

    assert!(load.end().await > 0);
}

#[tokio::test]
async fn a_token_of_a_secret_that_is_gone_is_refused() {
    let (file, service) = start().await;
    let old = token(&file).await;
    let taken = (&[&service.app][..], "JWT_SECRET", "taken");
    let status = async |bearer: &str| {
        let request = service.app.request(Method::GET, "/api/histories").bearer_auth(bearer);
        request.send().await.unwrap().status().as_u16()
    };

    replace(&file, &format!("{}\n{}\n", secret(1), secret(0)), taken).await;
    let new = token(&file).await;
    assert_eq!((status(&old).await, status(&new).await), (200, 200));
    replace(&file, &secret(1), taken).await;

    assert_eq!((status(&old).await, status(&new).await), (401, 200));
}
