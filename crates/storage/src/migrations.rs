//! Migrations, embedded for both databases.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::migrate::{Migrate, MigrateError, Migration, Migrator};
use tokio::time::timeout;

use crate::config::DatabaseConfig;
use crate::connection::Connection;
use crate::either;
use crate::error::{BoxError, is_of_the_database};

/// Where the database keeps what has been applied, by the library's default.
const TABLE: &str = "_sqlx_migrations";

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
    Failed(#[source] MigrateError),
}

impl From<sqlx::Error> for MigrationError {
    fn from(error: sqlx::Error) -> Self {
        if is_of_the_database(&error) {
            Self::Connection(error)
        } else {
            Self::Failed(MigrateError::Execute(error))
        }
    }
}

impl From<MigrateError> for MigrationError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::VersionMismatch(version) => Self::Changed(version),
            MigrateError::Execute(error) => error.into(),
            MigrateError::ExecuteMigration(error, _) if is_of_the_database(&error) => {
                Self::Connection(error)
            }
            other => Self::Failed(other),
        }
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
    either!(connection, |connection| {
        if sqlx::query(exists).fetch_optional(&mut **connection).await?.is_none() {
            return Ok(Vec::new());
        }
        sqlx::query_as(all).fetch_all(&mut **connection).await
    })
}

/// A migration as its file is called.
fn name(version: i64, description: &str) -> String {
    format!("{version}_{}", description.replace(' ', "_"))
}

/// Applies what is pending, and returns the names of what it has applied. Of several processes that do so
/// at once, one does it and the others wait.
///
/// # Errors
/// When a statement fails; what came before it has been applied in PostgreSQL, and nothing in SQLite.
pub(crate) async fn apply(
    connection: Connection<'_>,
    schema: &Schema,
) -> Result<Vec<String>, MigrationError> {
    match connection {
        Connection::Sqlite(connection) => {
            // The library's own transactions become savepoints in it.
            let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
            let applied = apply_pending(&mut *transaction, &schema.sqlite).await?;
            transaction.commit().await?;
            Ok(applied)
        }
        Connection::Postgres(connection) => {
            connection.lock().await?;
            let applied = apply_pending(connection, &schema.postgres).await;
            connection.unlock().await?;
            applied
        }
    }
}

async fn apply_pending<C: Migrate>(
    connection: &mut C,
    migrations: &Migrator,
) -> Result<Vec<String>, MigrationError> {
    connection.ensure_migrations_table(TABLE).await?;
    let applied = connection.list_applied_migrations(TABLE).await?;
    let mut names = Vec::new();
    for migration in migrations.iter() {
        if applied.iter().all(|applied| applied.version != migration.version) {
            connection.apply(TABLE, migration).await?;
            names.push(name(migration.version, &migration.description));
        }
    }
    Ok(names)
}

/// The command `migrate`: applies what is pending, and tells what it was.
///
/// # Errors
/// When the database cannot be reached, a migration fails, or the database is too new.
pub async fn migrate(config: &DatabaseConfig, schema: &Schema) -> Result<String, BoxError> {
    let options = config.options().ok_or("DATABASE_URL is not usable")?;
    let mut session = timeout(CONNECT_TIMEOUT, options.connect()).await??;
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
