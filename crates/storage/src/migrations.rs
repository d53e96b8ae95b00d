//! Migrations, embedded for both databases.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sqlx::migrate::{Migration, Migrator};
use sqlx::{Executor as _, FromRow, SqlSafeStr as _, SqlStr};
use tokio::time::timeout;

use crate::config::DatabaseConfig;
use crate::connection::Connection;
use crate::either;
use crate::error::{BoxError, is_of_the_database};
use crate::session::Session;

/// Where a database keeps what has been applied, as the library has it; behind the lock of those who apply.
const BEGIN_SQLITE: &str = "BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS _sqlx_migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    success BOOLEAN NOT NULL,
    checksum BLOB NOT NULL,
    execution_time BIGINT NOT NULL
)";

/// The same. The lock ends with the transaction, whatever becomes of the connection: a session may be one that a
/// pooler lends to others next.
const BEGIN_POSTGRES: &str = "BEGIN;
SELECT pg_advisory_xact_lock(hashtext('_sqlx_migrations'));
CREATE TABLE IF NOT EXISTS _sqlx_migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMPTZ NOT NULL DEFAULT now(),
    success BOOLEAN NOT NULL,
    checksum BYTEA NOT NULL,
    execution_time BIGINT NOT NULL
)";

/// How long the command `migrate` waits for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Begins the name of a migration that older releases do not survive.
const BREAKING: &str = "breaking";

/// The migrations of a service, the same versions for both databases.
///
/// ```text
/// static SCHEMA: Schema = Schema {
///     sqlite: sqlx::migrate!("migrations/sqlite"),
///     postgres: sqlx::migrate!("migrations/postgres"),
/// };
/// ```
#[derive(Debug)]
pub struct Schema {
    /// Those for SQLite.
    pub sqlite: Migrator,
    /// Those for PostgreSQL.
    pub postgres: Migrator,
}

impl Schema {
    fn migrator(&self, connection: &Connection<'_>) -> &Migrator {
        match connection {
            Connection::Sqlite(_) => &self.sqlite,
            Connection::Postgres(_) => &self.postgres,
        }
    }
}

/// Why the schema is not the one that the service needs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MigrationError {
    #[error("no connection")]
    Connection(#[source] sqlx::Error),
    #[error("{0} migrations are pending; apply them with `migrate`")]
    Pending(usize),
    #[error(
        "the database is newer than this release, and its migration `{0}` is not compatible with it"
    )]
    TooNew(String),
    #[error("migration {0} has been changed since it was applied")]
    Changed(i64),
    #[error("a migration failed")]
    Failed(#[source] sqlx::Error),
}

impl From<sqlx::Error> for MigrationError {
    fn from(error: sqlx::Error) -> Self {
        if is_of_the_database(&error) { Self::Connection(error) } else { Self::Failed(error) }
    }
}

/// How the migrations in the database and in the binary differ.
#[derive(Debug)]
pub(crate) struct Difference {
    /// Names of those that have not been applied.
    pub(crate) pending: Vec<String>,
    /// Names of those that the binary does not know, and can live with.
    pub(crate) newer: Vec<String>,
}

/// Compares the database with the schema.
///
/// # Errors
/// When the database cannot be asked, or the two do not go together.
pub(crate) async fn compare(
    mut connection: Connection<'_>,
    schema: &Schema,
) -> Result<Difference, MigrationError> {
    let migrations = schema.migrator(&connection).iter();
    let mut pending: BTreeMap<i64, &Migration> =
        migrations.map(|migration| (migration.version, migration)).collect();
    let mut newer = Vec::new();
    for (version, description, checksum) in applied(&mut connection).await? {
        match pending.remove(&version) {
            Some(migration) if migration.checksum[..] == checksum[..] => {}
            Some(_) => return Err(MigrationError::Changed(version)),
            None if description.starts_with(BREAKING) => {
                return Err(MigrationError::TooNew(name(version, &description)));
            }
            None => newer.push(name(version, &description)),
        }
    }
    let pending = pending.values().map(|migration| name(migration.version, &migration.description));
    Ok(Difference { pending: pending.collect(), newer })
}

/// Version, description and checksum of each migration that has been applied.
async fn applied(connection: &mut Connection<'_>) -> sqlx::Result<Vec<(i64, String, Vec<u8>)>> {
    let exists = match connection {
        Connection::Sqlite(_) => "SELECT 1 FROM sqlite_schema WHERE name = '_sqlx_migrations'",
        Connection::Postgres(_) => "SELECT 1 WHERE to_regclass('_sqlx_migrations') IS NOT NULL",
    };
    let all = "SELECT version, description, checksum FROM _sqlx_migrations ORDER BY version";
    // Texts, and no prepared statements, which need a transaction where a pooler lends the session.
    either!(connection, |connection| {
        if (&mut **connection).fetch_optional(exists).await?.is_none() {
            return Ok(Vec::new());
        }
        let rows = (&mut **connection).fetch_all(all).await?;
        rows.iter().map(FromRow::from_row).collect()
    })
}

/// A migration as its file is called.
fn name(version: i64, description: &str) -> String {
    format!("{version}_{}", description.replace(' ', "_"))
}

/// Applies what is pending, all or nothing, and returns the names of what it has applied. Of several processes that
/// do so at once, one does it and the others wait.
///
/// # Errors
/// When a statement fails; nothing has been applied then.
pub(crate) async fn apply(
    mut connection: Connection<'_>,
    schema: &Schema,
) -> Result<Vec<String>, MigrationError> {
    let begin = match connection {
        Connection::Sqlite(_) => BEGIN_SQLITE,
        Connection::Postgres(_) => BEGIN_POSTGRES,
    };
    let names = async {
        execute(&mut connection, begin.into_sql_str()).await?;
        apply_pending(&mut connection, schema).await
    };
    let names = names.await;
    let end = if names.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = execute(&mut connection, end.into_sql_str()).await;
    let names = names?;
    ended?;
    Ok(names)
}

async fn apply_pending(
    connection: &mut Connection<'_>,
    schema: &Schema,
) -> sqlx::Result<Vec<String>> {
    let applied = applied(connection).await?;
    let mut names = Vec::new();
    for migration in schema.migrator(connection).iter() {
        if applied.iter().any(|(version, ..)| *version == migration.version) {
            continue;
        }
        let started = Instant::now();
        execute(connection, migration.sql.clone()).await?;
        let took = i64::try_from(started.elapsed().as_nanos()).unwrap_or(i64::MAX);
        either!(connection, |connection| {
            sqlx::query(
                "INSERT INTO _sqlx_migrations \
                 (version, description, success, checksum, execution_time) \
                 VALUES ($1, $2, TRUE, $3, $4)",
            )
            .bind(migration.version)
            .bind(&*migration.description)
            .bind(&*migration.checksum)
            .bind(took)
            .execute(&mut **connection)
            .await?;
        });
        names.push(name(migration.version, &migration.description));
    }
    Ok(names)
}

/// Runs a text of any number of statements.
async fn execute(connection: &mut Connection<'_>, text: SqlStr) -> sqlx::Result<()> {
    either!(connection, |connection| { (&mut **connection).execute(text).await.map(drop) })
}

/// The command `migrate`: applies what is pending, and tells what it was.
///
/// # Errors
/// When the database cannot be reached, a migration fails, or the database is too new.
pub async fn migrate(config: &DatabaseConfig, schema: &Schema) -> Result<String, BoxError> {
    let options = config.options().ok_or("DATABASE_URL is not usable")?;
    let mut session = timeout(CONNECT_TIMEOUT, Session::connect(&options)).await??;
    let difference = compare(session.connection(), schema).await?;
    let applied = apply(session.connection(), schema).await?;
    session.close().await;
    let newer = difference.newer.iter().map(|name| format!("unknown to this release: {name}"));
    let mut lines: Vec<_> =
        newer.chain(applied.iter().map(|name| format!("applied {name}"))).collect();
    if applied.is_empty() {
        lines.push("nothing to apply".into());
    }
    Ok(lines.join("\n"))
}
