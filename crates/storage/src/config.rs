//! Which database, and how it is used.

mod parts;

use std::num::NonZeroU32;
use std::str::FromStr as _;
use std::time::Duration;

use common::Loader;
use common::config::Secret;
use serde::{Deserialize, Serialize};
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use tracing::log::LevelFilter;

pub use parts::PostgresParts;

/// The database.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct DatabaseConfig {
    /// `DATABASE_URL`: `sqlite://<file>` or `postgres://<user>:<password>@<host>:<port>/<database>`, by
    /// default the service's own.
    pub database_url: Option<Secret>,
    /// `DATABASE_MAX_CONNECTIONS`: connections that requests share, `10`; with SQLite at
    /// most 4, which only read.
    pub database_max_connections: NonZeroU32,
    /// `DATABASE_TIMEOUT`: how long a request waits for the database, `5s`.
    #[serde(with = "humantime_serde")]
    pub database_timeout: Duration,
    /// `AUTO_MIGRATE`: whether pending migrations are applied at the start, `true`.
    pub auto_migrate: bool,
    /// The secret that the URL is made of, where that is given in parts.
    #[serde(skip)]
    pub parts: Option<PostgresParts>,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            database_url: None,
            database_max_connections: NonZeroU32::MIN.saturating_add(9),
            database_timeout: Duration::from_secs(5),
            auto_migrate: true,
            parts: None,
        }
    }
}

impl DatabaseConfig {
    /// Reads the variables; `default_url` is for a `DATABASE_URL` that is not set.
    pub fn load(default_url: &str, loader: &mut Loader) -> Self {
        if !loader.is_set("DATABASE_URL_FILE") {
            loader.default_value("DATABASE_URL", default_url);
        }
        let config: Self = loader.section();
        if config.database_url.is_some() && config.options().is_none() {
            loader.problem(
                "DATABASE_URL",
                "expected sqlite://<file> or postgres://<user>:<password>@<host>:<port>/<database>",
            );
        }
        if config.database_timeout.is_zero() {
            loader.problem("DATABASE_TIMEOUT", "must be more than 0s");
        }
        config
    }

    /// Reads the variables, and those of PostgreSQL in parts where there is no `DATABASE_URL`.
    pub fn load_with_parts(default_url: &str, loader: &mut Loader) -> Self {
        let has_url = ["DATABASE_URL", "DATABASE_URL_FILE"].iter().any(|name| loader.is_set(name));
        // Parts that nobody asks for cannot be wrong.
        let parts = if has_url { PostgresParts::default() } else { loader.section() };
        let url = parts.url();
        let config = Self::load(url.as_deref().unwrap_or(default_url), loader);
        Self { parts: url.map(|_| parts), ..config }
    }

    /// What changes when the credentials are others: the URL, or the password in parts.
    pub(crate) fn secret(&self) -> Option<&Secret> {
        match &self.parts {
            Some(parts) => parts.postgres_password.as_ref(),
            None => self.database_url.as_ref(),
        }
    }

    /// How to connect with another value of [`Self::secret`].
    pub(crate) fn options_with(&self, secret: &Secret) -> Option<Options> {
        match &self.parts {
            Some(parts) => self.options_of(&parts.with_password(secret.clone()).url()?),
            None => self.options_of(secret.expose()),
        }
    }

    /// Whether the URL is one of SQLite.
    #[must_use]
    pub fn is_sqlite(&self) -> bool {
        matches!(self.options(), Some(Options::Sqlite(_)))
    }

    /// How to connect; none where the URL is neither of the two kinds.
    pub(crate) fn options(&self) -> Option<Options> {
        self.options_of(self.database_url.as_ref()?.expose())
    }

    fn options_of(&self, url: &str) -> Option<Options> {
        // A parser of URLs leaves line ends out, and a file may have several lines.
        if url.contains(char::is_control) {
            return None;
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let options = PgConnectOptions::from_str(url).ok()?;
            return Some(Options::Postgres(options.log_statements(LevelFilter::Off)));
        }
        // A database in memory would be another one for each connection.
        if !url.starts_with("sqlite://") || is_in_memory(url) {
            return None;
        }
        let options = SqliteConnectOptions::from_str(url).ok()?;
        if options.get_filename().as_os_str().is_empty() {
            return None;
        }
        let options = options
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(self.database_timeout)
            .foreign_keys(true)
            .log_statements(LevelFilter::Off);
        Some(Options::Sqlite(options))
    }
}

fn is_in_memory(url: &str) -> bool {
    url.contains(":memory:") || url.contains("mode=memory")
}

/// How to connect.
#[derive(Clone, Debug)]
pub(crate) enum Options {
    Sqlite(SqliteConnectOptions),
    Postgres(PgConnectOptions),
}
