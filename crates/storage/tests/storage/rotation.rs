//! Credentials that change while the database is used.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use storage::Error;
use test_support::{
    Durability, Load, Postgres, RELOAD_INTERVAL, SecretFile, Sql, rotations, wait_until,
};
use url::Url;

use crate::{SCHEMA, TIMEOUT, Words, schema};

/// The URL of a database for this role.
fn url(database: &str, role: &str, password: &str) -> String {
    let mut url = Url::parse(database).unwrap();
    url.set_username(role).unwrap();
    url.set_password(Some(password)).unwrap();
    url.into()
}

impl Words {
    fn following(file: &SecretFile) -> Arc<Self> {
        let path = file.variable();
        // Where the machine is busy with other tests, an authentication takes long.
        let patient = ("DATABASE_TIMEOUT", "40s");
        Arc::new(Self::begin(&[("DATABASE_URL_FILE", &path), RELOAD_INTERVAL, patient], &SCHEMA))
    }

    async fn reloads(&self, outcome: &str) -> u64 {
        let labels = format!("{{secret=\"DATABASE_URL\",outcome=\"{outcome}\"}}");
        self.metric(&format!("secret_reloads_total{labels}")).await
    }

    async fn replace(&self, file: &SecretFile, url: &str, outcome: &str) {
        let before = self.reloads(outcome).await;
        file.put(url);
        self.wait_for_reload(before, outcome).await;
    }

    async fn wait_for_reload(&self, before: u64, outcome: &str) {
        wait_until(&format!("the URL is {outcome}"), TIMEOUT, async || {
            self.reloads(outcome).await > before
        })
        .await;
    }
}

/// Clients that read and write, and may not fail.
fn load(words: &Arc<Words>) -> Load {
    let (words, next) = (Arc::clone(words), Arc::new(AtomicU32::new(0)));
    Load::start(6, move || {
        let (words, number) = (Arc::clone(&words), next.fetch_add(1, Ordering::Relaxed));
        async move {
            let asked = if number % 2 == 0 {
                words.count().await.map(drop)
            } else {
                words.writer.write(format!("word {number}")).await.map(drop)
            };
            asked.map_err(|error| common::causes(&error))
        }
    })
}

/// A server that wants passwords, and two roles that may do the same.
async fn server() -> Option<Postgres> {
    let postgres = Postgres::start_own(Durability::Fast).await?;
    let admin = postgres.url().to_owned();
    for statement in [
        "CREATE ROLE words",
        "GRANT ALL ON SCHEMA public TO words",
        "CREATE ROLE one LOGIN IN ROLE words PASSWORD 'p0'",
        "CREATE ROLE two LOGIN IN ROLE words PASSWORD 'p0'",
        "ALTER ROLE one SET role = 'words'",
        "ALTER ROLE two SET role = 'words'",
    ] {
        postgres.execute(&admin, statement).await.unwrap();
    }
    postgres.require_passwords(&admin).await;
    Some(postgres)
}

/// A service that uses the first role of such a server, by a file.
struct Rotation {
    postgres: Postgres,
    admin: String,
    file: SecretFile,
    words: Arc<Words>,
}

impl Rotation {
    async fn start() -> Option<Self> {
        let postgres = server().await?;
        let admin = postgres.url().to_owned();
        let file = SecretFile::new(&url(&admin, "one", "p0"));
        let words = Words::following(&file);
        words.wait_until_ready(true).await;
        Some(Self { postgres, admin, file, words })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_s_password_is_altered_again_and_again_and_nothing_fails() {
    let Some(Rotation { postgres, admin, file, words }) = Rotation::start().await else { return };
    let load = load(&words);

    for n in 1..=rotations() {
        let new = url(&admin, "one", &format!("p{n}"));
        if n % 2 == 0 {
            // Wrong until the server knows it, and another wrong one before.
            words.replace(&file, &url(&admin, "one", "wrong"), "refused").await;
            words.replace(&file, &new, "refused").await;
        }
        let taken = words.reloads("taken").await;
        postgres.execute(&admin, &format!("ALTER ROLE one PASSWORD 'p{n}'")).await.unwrap();
        if n % 2 == 1 {
            // Connections that are begun before the file changes have the old password.
            file.put(&new);
        }
        words.wait_for_reload(taken, "taken").await;
    }

    assert!(load.end().await > u64::from(rotations()));
    let old =
        postgres.execute(&url(&admin, "one", &format!("p{}", rotations() - 1)), "SELECT 1").await;
    assert!(old.unwrap_err().contains("password authentication failed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_roles_take_turns_again_and_again_and_the_old_one_is_revoked() {
    let Some(Rotation { postgres, admin, file, words }) = Rotation::start().await else { return };
    let load = load(&words);

    for n in 1..=rotations() {
        let (old, new) = if n % 2 == 0 { ("two", "one") } else { ("one", "two") };
        let allow = format!("ALTER ROLE {new} LOGIN PASSWORD 'p{n}'");
        postgres.execute(&admin, &allow).await.unwrap();
        let wrong = ["postgres://", "", "postgres://one:p", "mysql://host", "a\nb"];
        words.replace(&file, wrong[n as usize % 5], "refused").await;
        words.replace(&file, &url(&admin, new, &format!("p{n}")), "taken").await;
        // Nobody is disturbed by the end of the old one.
        let sessions = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{old}'");
        wait_until("the old connections have ended", TIMEOUT, async || {
            postgres.execute(&admin, &sessions).await.unwrap().trim() == "0"
        })
        .await;
        let revoke = format!("ALTER ROLE {old} NOLOGIN PASSWORD NULL");
        postgres.execute(&admin, &revoke).await.unwrap();
    }

    assert!(load.end().await > u64::from(rotations()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_needs_a_connection_waits_for_the_new_password() {
    let Some(Rotation { postgres, admin, file, words }) = Rotation::start().await else { return };
    postgres.execute(&admin, "ALTER ROLE one PASSWORD 'p1'").await.unwrap();

    // There is no connection but the keeper's yet.
    let (counted, ()) = tokio::join!(words.count(), async {
        wait_until("the old password was refused", TIMEOUT, async || {
            let refused = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'one'";
            postgres.execute(&admin, refused).await.unwrap().trim() != "0"
        })
        .await;
        file.put(&url(&admin, "one", "p1"));
    });

    assert_eq!(counted.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_is_taken_over_with_its_migrations() {
    for sql in [Sql::Sqlite, Sql::Postgres] {
        let (Some(first), Some(second)) = (sql.database().await, sql.database().await) else {
            return;
        };
        let file = SecretFile::new(first.url());
        let words = Words::following(&file);
        words.wait_until_ready(true).await;
        words.writer.write("here".into()).await.unwrap();
        let load = load(&words);

        words.replace(&file, second.url(), "taken").await;

        // What was written is not moved.
        assert!(load.end().await > 0);
        let there = Words::start(&first).await;
        assert!(there.count().await.unwrap() >= 1);
        words.replace(&file, first.url(), "taken").await;
        assert_eq!(words.count().await.unwrap(), there.count().await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_kind_of_database_or_of_schema_is_not_taken_over() {
    let (Some(first), Some(second)) =
        (Sql::Sqlite.database().await, Sql::Postgres.database().await)
    else {
        return;
    };
    let Some(newer) = Sql::Sqlite.database().await else { return };
    let breaking = schema(&[(99_990_101_000_000, "breaking", "CREATE TABLE t (id BIGINT)")]);
    let other = Words::begin(&[("DATABASE_URL", newer.url())], breaking);
    other.wait_until_ready(true).await;
    let file = SecretFile::new(first.url());
    let words = Words::following(&file);
    words.wait_until_ready(true).await;

    words.replace(&file, second.url(), "refused").await;
    words.replace(&file, newer.url(), "refused").await;

    // A restart takes the one over, and a newer release the other; the old one is used meanwhile.
    assert_eq!(words.reloads("taken").await, 0);
    let written: Result<i64, Error> = words.writer.write("here".into()).await;
    written.unwrap();
}
