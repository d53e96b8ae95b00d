//! The password of the database, given apart from its URL, changed while lookups are saved.

use reqwest::Client;
use test_support::{App, Durability, Load, Postgres, RELOAD_INTERVAL, SecretFile, replace};

use crate::{Service, TIMEOUT};

#[tokio::test]
async fn a_password_in_a_file_of_its_own_is_changed_and_no_lookup_fails() {
    let Some(postgres) = Postgres::start_own(Durability::Fast).await else { return };
    let admin = postgres.url();
    postgres.execute(admin, "CREATE ROLE fish LOGIN SUPERUSER PASSWORD 'p0'").await.unwrap();
    postgres.require_passwords(admin).await;
    let file = SecretFile::new("p0\n");
    let (path, port) = (file.variable(), postgres.server.addr().port().to_string());
    let service = Service::begin(
        "",
        &[
            ("DATABASE_URL", ""),
            ("DATABASE_TIMEOUT", "40s"),
            ("POSTGRES_HOST", "127.0.0.1"),
            ("POSTGRES_PORT", &port),
            ("POSTGRES_USER", "fish"),
            ("POSTGRES_DB", "postgres"),
            ("POSTGRES_PASSWORD_FILE", &path),
            RELOAD_INTERVAL,
        ],
    )
    .await;
    service.wait_for_readyz(200).await;
    service.dns.set_addresses("example.com", &["192.0.2.1"]);
    let client = Client::builder().timeout(TIMEOUT).build().unwrap();
    let url = service.app.url("/v1/tools/lookup?domain=example.com");
    let load = Load::start(4, move || {
        let (client, url) = (client.clone(), url.clone());
        async move {
            let status = client.get(&url).send().await.map_err(|error| error.to_string())?.status();
            if status == 200 { Ok(()) } else { Err(status.to_string()) }
        }
    });
    let apps: [&App; 1] = [&service.app];

    for n in 1..=20 {
        // Of no use until the server knows it, and taken over by itself as soon as it does.
        replace(&file, &format!("p{n}\n"), (&apps, "POSTGRES_PASSWORD", "refused")).await;
        let taken = test_support::reloads(&service.app, "POSTGRES_PASSWORD", "taken").await;
        let alter = format!("ALTER ROLE fish PASSWORD 'p{n}'");
        postgres.execute(admin, &alter).await.unwrap();
        test_support::wait_until("it is taken over", TIMEOUT, async || {
            test_support::reloads(&service.app, "POSTGRES_PASSWORD", "taken").await > taken
        })
        .await;
    }

    assert!(load.end().await > 20);
}
