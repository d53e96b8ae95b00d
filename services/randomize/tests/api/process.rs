//! The program: its commands, and what a `kill -9` leaves.

use std::net::SocketAddr;

use serde_json::{Value, json};
use test_support::{Binary, Durability, Postgres, RawConnection, Signal, Sql, wait_until};
use tokio::task::JoinSet;

use crate::{TIMEOUT, app, database, wait_for_readyz};

const PROGRAM: &str = env!("CARGO_BIN_EXE_randomize");

fn serve(url: &str) -> Binary {
    Binary::serve(PROGRAM, &[], &[("DATABASE_URL", url)])
}

async fn run(arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    Binary::run(PROGRAM, arguments, variables).await
}

/// Keeps words until the process or its database is gone; returns each id that was answered with its word.
async fn keep_words(addr: SocketAddr, client: usize) -> Vec<(i64, String)> {
    let mut connection = RawConnection::open(addr).await;
    let mut kept = Vec::new();
    for n in 0.. {
        let word = format!("client {client} word {n}");
        let body = json!({ "word": word }).to_string();
        let request = format!(
            "POST /api/randomizes HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if connection.try_send(&request).await.is_err() {
            break;
        }
        let Some(answer) = connection.response().await else { break };
        if answer.status != 201 {
            break;
        }
        let answer: Value = serde_json::from_str(&answer.body).unwrap();
        kept.push((answer["id"].as_i64().unwrap(), word));
    }
    kept
}

/// Each kept word is there with its audit row, and there are no others.
async fn check(url: &str, kept: &[(i64, String)]) {
    let words: Vec<(i64, String)>;
    let audited: Vec<String>;
    let (all_words, all_rows) = (
        "SELECT id, original FROM randomizes ORDER BY id",
        "SELECT data FROM histories WHERE status = '201 CREATED' ORDER BY data",
    );
    if url.starts_with("sqlite") {
        let mut connection =
            <sqlx::SqliteConnection as sqlx::Connection>::connect(url).await.unwrap();
        words = sqlx::query_as(all_words).fetch_all(&mut connection).await.unwrap();
        audited = sqlx::query_scalar(all_rows).fetch_all(&mut connection).await.unwrap();
        let sound: String =
            sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut connection).await.unwrap();
        assert_eq!(sound, "ok");
    } else {
        let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(url).await.unwrap();
        words = sqlx::query_as(all_words).fetch_all(&mut connection).await.unwrap();
        audited = sqlx::query_scalar(all_rows).fetch_all(&mut connection).await.unwrap();
    }
    let found: std::collections::HashSet<_> = words.iter().collect();
    let lost: Vec<_> = kept.iter().filter(|word| !found.contains(word)).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), kept.len());
    let mut bodies: Vec<_> =
        words.iter().map(|(_, word)| json!({ "word": word }).to_string()).collect();
    bodies.sort_unstable();
    let mut audited = audited;
    audited.sort_unstable();
    assert_eq!(bodies, audited, "a word for each row, and a row for each word");
}

#[tokio::test]
async fn kill_9_under_load_loses_no_word_that_was_answered() {
    for sql in [Sql::Sqlite, Sql::Postgres] {
        let Some(database) = database(sql).await else { return };
        let mut kept = Vec::new();
        for round in 0..5 {
            let mut binary = serve(database.url());
            let addr = binary.addr().await;
            wait_until("it is ready", TIMEOUT, async || ready(addr).await).await;
            let mut clients = JoinSet::new();
            for client in 0..16 {
                clients.spawn(keep_words(addr, round * 100 + client));
            }
            wait_until("words are kept", TIMEOUT, async || counted(addr).await > 200).await;

            binary.signal(Signal::KILL);
            binary.exit(TIMEOUT).await;

            kept.extend(clients.join_all().await.into_iter().flatten());
            check(database.url(), &kept).await;
        }
    }
}

#[tokio::test]
async fn a_database_killed_under_load_loses_no_word_that_was_answered() {
    let Some(mut postgres) = Postgres::start_own(Durability::Durable).await else { return };
    let mut binary = serve(postgres.url());
    let addr = binary.addr().await;
    let mut kept = Vec::new();
    for round in 0..3 {
        // Ready, and past the connections that the kill has broken.
        wait_until("it keeps words", TIMEOUT, async || {
            ready(addr).await && keeps_a_word(addr, round).await
        })
        .await;
        let before = counted(addr).await;
        let mut clients = JoinSet::new();
        for client in 0..16 {
            clients.spawn(keep_words(addr, round * 100 + client));
        }
        wait_until("words are kept", TIMEOUT, async || counted(addr).await > before + 200).await;

        postgres.server.kill();

        // Each of them is answered by something else than a 201.
        kept.extend(clients.join_all().await.into_iter().flatten());
        postgres.server.restart().await;
        wait_until("it is ready", TIMEOUT, async || ready(addr).await).await;
        check(postgres.url(), &kept).await;
    }
    binary.signal(Signal::TERM);
    assert_eq!(binary.exit(TIMEOUT).await.code(), Some(0));
}

#[tokio::test]
async fn sigterm_under_load_answers_what_was_read() {
    let database = database(Sql::Sqlite).await.unwrap();
    let mut binary = serve(database.url());
    let addr = binary.addr().await;
    wait_until("it is ready", TIMEOUT, async || ready(addr).await).await;
    let mut clients = JoinSet::new();
    for client in 0..16 {
        clients.spawn(keep_words(addr, client));
    }
    wait_until("words are kept", TIMEOUT, async || counted(addr).await > 200).await;

    binary.signal(Signal::TERM);

    assert_eq!(binary.exit(TIMEOUT).await.code(), Some(0));
    let kept: Vec<_> = clients.join_all().await.into_iter().flatten().collect();
    check(database.url(), &kept).await;
}

async fn get(addr: SocketAddr, path: &str) -> test_support::RawResponse {
    let mut connection = RawConnection::open(addr).await;
    connection.send(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
    connection.response().await.unwrap()
}

async fn keeps_a_word(addr: SocketAddr, round: usize) -> bool {
    let body = json!({ "word": format!("before round {round}") }).to_string();
    let mut connection = RawConnection::open(addr).await;
    let head =
        format!("POST /api/randomizes HTTP/1.1\r\nhost: x\r\ncontent-length: {}", body.len());
    connection.send(&format!("{head}\r\n\r\n{body}")).await;
    connection.response().await.is_some_and(|answer| answer.status == 201)
}

async fn ready(addr: SocketAddr) -> bool {
    get(addr, "/readyz").await.status == 200
}

async fn counted(addr: SocketAddr) -> u64 {
    let metrics = get(addr, "/metrics").await.body;
    let value = metrics.lines().find_map(|line| line.strip_prefix("randomize_words_total "));
    value.unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_command_migrate_makes_a_service_without_auto_migrate_ready() {
    for sql in [Sql::Sqlite, Sql::Postgres] {
        let Some(database) = sql.database().await else { return };
        let app = app(database.url(), &[("AUTO_MIGRATE", "false")]);
        wait_for_readyz(&app, 503).await;

        let (code, printed, _) = run(&["migrate"], &[("DATABASE_URL", database.url())]).await;

        assert_eq!(
            (code, printed.as_str()),
            (Some(0), "applied 20260101000000_randomizes_and_histories")
        );
        wait_for_readyz(&app, 200).await;
    }
    let (code, _, said) =
        run(&["migrate"], &[("DATABASE_URL", "postgres://a:hush@127.0.0.1:1/x")]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("refused") && !said.contains("hush"), "{said}");
}

#[tokio::test]
async fn the_command_token_makes_a_token_that_the_service_takes() {
    let secret = ("JWT_SECRET", "a secret of at least thirty-two bytes");
    let database = database(Sql::Sqlite).await.unwrap();
    let app = app(database.url(), &[secret]);
    wait_for_readyz(&app, 200).await;

    let (code, token, _) = run(&["token", "--subject", "alice", "--ttl", "1m"], &[secret]).await;

    assert_eq!(code, Some(0));
    let request = app.request(reqwest::Method::GET, "/api/histories");
    assert_eq!(request.bearer_auth(token).send().await.unwrap().status(), 200);
    let (code, _, said) = run(&["token", "--subject", "alice"], &[]).await;
    assert_eq!((code, said.as_str()), (Some(1), "JWT_SECRET is required"));
    let (code, ..) = run(&["token"], &[secret]).await;
    assert_eq!(code, Some(2));
}

#[tokio::test]
async fn the_configuration_is_printed_without_its_secrets() {
    let variables = [
        ("DATABASE_URL", "postgres://hush:hush@localhost/hush"),
        ("JWT_SECRET", "hush hush hush hush hush hush hush hush"),
        ("AUDIT_RETENTION", "12h"),
    ];
    let (code, printed, _) = run(&["config"], &variables).await;

    assert_eq!(code, Some(0));
    assert!(!printed.contains("hush"), "{printed}");
    for line in [
        "DATABASE_URL=********",
        "JWT_SECRET=********",
        "AUDIT_RETENTION=12h",
        "CORS_ALLOWED_ORIGINS=*",
        "AUTO_MIGRATE=true",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line}: {printed}");
    }
}

#[tokio::test]
async fn an_orderly_start_and_stop_logs_no_warning() {
    for sql in [Sql::Sqlite, Sql::Postgres] {
        let Some(database) = sql.database().await else { return };
        serve(database.url()).start_and_stop_quietly().await;
    }
}
