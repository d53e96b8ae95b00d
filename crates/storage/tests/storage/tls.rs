//! PostgreSQL behind TLS.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use storage::{Connection, either};
use test_support::{Durability, Postgres, wait_until};

use crate::{SCHEMA, TIMEOUT, Words};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server that speaks TLS as well, with a certificate of that authority for `name`.
async fn postgres(authority: &Authority, name: &str) -> Option<Postgres> {
    let postgres = Postgres::start_own(Durability::Fast).await?;
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    let mut admin = PgConnection::connect(postgres.url()).await.unwrap();
    for (file, pem) in [("server.crt", certificate.pem()), ("server.key", key.serialize_pem())] {
        // The server accepts a key that is its own user's alone, so it writes the files itself.
        let lines = format!("SELECT unnest(string_to_array('{}', chr(10)))", pem.trim());
        let copy = format!("COPY ({lines}) TO PROGRAM 'umask 077; cat >{file}'");
        sqlx::query(AssertSqlSafe(copy)).execute(&mut admin).await.unwrap();
    }
    for statement in ["ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()"] {
        sqlx::query(statement).execute(&mut admin).await.unwrap();
    }
    wait_until("TLS is on", TIMEOUT, async || {
        // A session learns of new settings between two statements.
        let ssl: String = sqlx::query_scalar("SHOW ssl").fetch_one(&mut admin).await.unwrap();
        ssl == "on"
    })
    .await;
    Some(postgres)
}

/// Starts a service that trusts that authority.
fn begin(
    postgres: &Postgres,
    mode: &str,
    authority: &Authority,
) -> (tempfile::NamedTempFile, Words) {
    let bundle = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(bundle.path(), authority.pem()).unwrap();
    let file = bundle.path().display();
    let url = format!("{}?sslmode={mode}&sslrootcert={file}", postgres.url());
    (bundle, Words::begin(&[("DATABASE_URL", &url)], &SCHEMA))
}

async fn is_encrypted(words: &Words) -> bool {
    let asked = async |connection: Connection<'_>| {
        either!(connection, |connection| {
            let ssl = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
            sqlx::query_scalar(ssl).fetch_one(connection).await
        })
    };
    words.database.read(&words.counting, asked).await.unwrap()
}

#[tokio::test]
async fn a_server_whose_certificate_is_trusted_is_used() {
    let authority = authority();
    let Some(postgres) = postgres(&authority, "127.0.0.1").await else { return };

    let (_bundle, words) = begin(&postgres, "verify-full", &authority);

    words.wait_until_ready(true).await;
    words.writer.write("a".into()).await.unwrap();
    assert!(is_encrypted(&words).await);
}

#[tokio::test]
async fn a_server_of_another_name_is_not_used_unless_only_its_authority_counts() {
    let authority = authority();
    let Some(postgres) = postgres(&authority, "database.example").await else { return };

    let (_bundle, full) = begin(&postgres, "verify-full", &authority);
    let (_bundle, any_name) = begin(&postgres, "verify-ca", &authority);

    any_name.wait_until_ready(true).await;
    assert!(is_encrypted(&any_name).await);
    refused(&full, "not valid for name").await;
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_used() {
    let Some(postgres) = postgres(&authority(), "127.0.0.1").await else { return };

    let (_bundle, words) = begin(&postgres, "verify-ca", &authority());

    refused(&words, "invalid peer certificate").await;
}

#[tokio::test]
async fn a_server_without_tls_is_not_used_where_that_is_required() {
    let Some(postgres) = Postgres::start_own(Durability::Fast).await else { return };

    let (_bundle, words) = begin(&postgres, "require", &authority());

    refused(&words, "TLS").await;
}

/// Waits until requests are told why.
async fn refused(words: &Words, reason: &str) {
    let mut told = String::new();
    wait_until(&format!("it is told that {reason}"), TIMEOUT, async || {
        told = words.count().await.map_or_else(|error| common::causes(&error), |_| "used".into());
        !told.contains("not connected yet")
    })
    .await;
    assert!(told.contains(reason), "{told}");
    assert!(!words.readiness.is_ready());
}
