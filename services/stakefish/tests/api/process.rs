//! The program: its configuration, its commands, and what a `kill -9` leaves.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::Value;
use test_support::{Binary, RawConnection, Signal, Sql, on_both_databases, wait_until};
use tokio::sync::mpsc;

use crate::TIMEOUT;
use crate::dns::Dns;

const PROGRAM: &str = env!("CARGO_BIN_EXE_stakefish");

fn serve(database_url: &str, dns: &Dns) -> Binary {
    let servers = dns.addr();
    let variables = [
        ("WORKERS", "2"),
        ("DATABASE_URL", database_url),
        ("DNS_SERVERS", &servers),
        ("LOOKUP_RATE_LIMIT", "none"),
    ];
    Binary::serve(PROGRAM, &[], &variables)
}

async fn ready(addr: SocketAddr) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    wait_until("it is ready", TIMEOUT, async || {
        let answer = client.get(format!("http://{addr}/readyz")).send().await;
        answer.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
}

/// Looks the same names up again and again, until the process is gone in the middle of something.
async fn look_up_until_the_end(addr: SocketAddr, acknowledged: mpsc::UnboundedSender<i64>) {
    let mut connection = RawConnection::open(addr).await;
    let body = r#"{"domain":"example.com"}"#;
    let request = format!(
        "POST /tools/lookup HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    while connection.try_send(&request).await.is_ok() {
        let Some(answer) = connection.response().await else { return };
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer: Value = serde_json::from_str(&answer.body).unwrap();
        acknowledged.send(answer["id"].as_i64().unwrap()).unwrap();
    }
}

on_both_databases! {
    async fn kill_9_loses_no_acknowledged_query(sql: Sql) {
        let Some(database) = sql.database().await else { return };
        let dns = Dns::start().await;
        dns.set_addresses("example.com", &["192.0.2.1", "192.0.2.2"]);
        let mut acknowledged = BTreeSet::new();
        for round in 1..=3 {
            let mut binary = serve(database.url(), &dns);
            let addr = binary.addr().await;
            ready(addr).await;
            let (sender, mut ids) = mpsc::unbounded_channel();
            let mut clients = tokio::task::JoinSet::new();
            for _ in 0..16 {
                clients.spawn(look_up_until_the_end(addr, sender.clone()));
            }
            drop(sender);
            while acknowledged.len() < round * 300 {
                acknowledged.insert(ids.recv().await.unwrap());
            }

            binary.signal(Signal::KILL);
            binary.exit(TIMEOUT).await;
            // A connection that breaks within an answer was told nothing.
            while clients.join_next().await.is_some() {}
            while let Some(id) = ids.recv().await {
                acknowledged.insert(id);
            }
        }

        let service = crate::Service::start_on(database.url(), &[]).await;
        let mut saved = BTreeSet::new();
        let mut next = Some("/history?limit=100".to_owned());
        while let Some(path) = next {
            let answer = service.app.get(&path).await;
            next = answer.headers().get("link").map(|link| {
                let link = link.to_str().unwrap();
                service.app.resolve(&path, &link[1..link.find('>').unwrap()])
            });
            for query in answer.json::<Vec<Value>>().await.unwrap() {
                assert_eq!(query["addresses"].as_array().unwrap().len(), 2, "no half a query");
                saved.insert(query["id"].as_i64().unwrap());
            }
        }
        assert!(acknowledged.is_subset(&saved), "{:?}", acknowledged.difference(&saved));
        let all = saved.len().to_string().parse::<f64>().ok();
        wait_until("the counts are the queries", TIMEOUT, async || {
            service.app.metric("queries_total{domain=\"example.com\"}").await == all
        })
        .await;
    }

    async fn the_command_migrate_says_what_it_has_applied(sql: Sql) {
        let Some(database) = sql.database().await else { return };
        let variables = [("DATABASE_URL", database.url())];

        for said in ["applied 20261121000000_queries", "nothing to apply"] {
            let mut binary = Binary::start(PROGRAM, &["migrate"], &variables);
            assert_eq!(binary.exit(TIMEOUT).await.code(), Some(0), "{:?}", binary.error_lines());
            assert_eq!(binary.lines(), [said]);
        }
    }
}

#[tokio::test]
async fn postgres_is_found_by_its_parts_unless_there_is_a_url() {
    let Some(database) = Sql::Postgres.database().await else { return };
    let url = reqwest::Url::parse(database.url()).unwrap();
    let port = url.port().unwrap().to_string();
    let variables = [
        ("DATABASE_URL", ""),
        ("POSTGRES_USER", url.username()),
        ("POSTGRES_PASSWORD", url.password().unwrap_or("p&ss/w?rd")),
        ("POSTGRES_DB", url.path().trim_start_matches('/')),
        ("POSTGRES_HOST", url.host_str().unwrap()),
        ("POSTGRES_PORT", &port),
    ];
    let service = crate::Service::start_on("", &variables).await;
    service.dns.set_addresses("example.com", &["192.0.2.1"]);
    assert_eq!(service.look_up("example.com").await.status(), 200);

    let service = crate::Service::start_on(database.url(), &[]).await;
    let saved: Vec<Value> = service.app.get("/history").await.json().await.unwrap();
    assert_eq!(saved.len(), 1);

    let file = Sql::Sqlite.database().await.unwrap();
    let service = crate::Service::start_on(file.url(), &variables[1..]).await;
    let saved: Vec<Value> = service.app.get("/history").await.json().await.unwrap();
    assert_eq!(saved.len(), 0, "the URL wins");
}

#[tokio::test]
async fn wrong_variables_are_named_and_no_secret_is_shown() {
    let variables = [
        ("DATABASE_URL", "mysql://u:hush@h/d"),
        ("DNS_SERVERS", "hush"),
        ("DNS_TIMEOUT", "1h"),
        ("LOOKUP_RATE_LIMIT", "hush"),
        ("METRICS_TOP_DOMAINS", "0"),
    ];

    let said = Binary::refuse(PROGRAM, &variables).await;

    assert!(!said.contains("hush"), "{said}");
}

#[tokio::test]
async fn the_effective_configuration_shows_the_defaults_and_masks_the_database() {
    let printed = Binary::config(PROGRAM, &[("POSTGRES_PASSWORD", "hush")]).await;

    for line in [
        "PORT=3000",
        "DATABASE_URL=********",
        "POSTGRES_PASSWORD=********",
        "DNS_SERVERS=",
        "DNS_TIMEOUT=2s",
        "LOOKUP_RATE_LIMIT=20/s",
        "METRICS_TOP_DOMAINS=100",
    ] {
        assert!(printed.contains(&line.to_owned()), "{line}: {printed:?}");
    }
    assert!(!printed.join("\n").contains("hush"), "{printed:?}");
}

#[tokio::test]
async fn an_orderly_start_and_stop_logs_no_warning() {
    let dns = Dns::start().await;
    for sql in [Sql::Sqlite, Sql::Postgres] {
        let Some(database) = sql.database().await else { return };
        serve(database.url(), &dns).start_and_stop_quietly().await;
    }
}

#[tokio::test]
async fn parts_that_nobody_asks_for_and_links_of_kubernetes_are_ignored() {
    let link = ("POSTGRES_PORT", "tcp://10.0.0.1:5432");
    let url = ("DATABASE_URL", "sqlite://data/stakefish.db");
    for variables in [vec![link, url], vec![link], vec![("POSTGRES_PORT", "many"), url]] {
        let mut config = Binary::start(PROGRAM, &["config"], &variables);
        assert_eq!(config.exit(TIMEOUT).await.code(), Some(0), "{:?}", config.error_lines());
    }
    let mut wrong = Binary::start(PROGRAM, &["config"], &[("POSTGRES_PORT", "many")]);
    assert_eq!(wrong.exit(TIMEOUT).await.code(), Some(78));
}
