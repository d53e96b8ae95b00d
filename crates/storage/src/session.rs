//! A connection outside of the pools: of the monitor, and of the command `migrate`.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use crate::config::Options;
use crate::connection::Connection;
use crate::postgres::{self, PostgresConnection, Sessions};
use crate::sqlite;

/// A connection of its own.
pub(crate) enum Session {
    Sqlite { connection: SqliteConnection, path: PathBuf, file: FileId },
    Postgres(PostgresConnection, Sessions),
}

/// Which file a path leads to: device and inode.
type FileId = Option<(u64, u64)>;

fn file_id(path: &Path) -> FileId {
    fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

impl Session {
    /// Connects once. The folder of an SQLite file is made at need.
    ///
    /// # Errors
    /// When there is no connection; how long that is tried for is up to the caller.
    pub(crate) async fn connect(options: &Options) -> sqlx::Result<Self> {
        match options {
            Options::Sqlite(options) => {
                if let Some(folder) = options.get_filename().parent() {
                    fs::create_dir_all(folder)?;
                }
                let connection = sqlite::with_small_cache(options).connect().await?;
                let path = options.get_filename().to_owned();
                Ok(Self::Sqlite { connection, file: file_id(&path), path })
            }
            Options::Postgres(options) => {
                let (connection, sessions) = postgres::connect(options).await?;
                Ok(Self::Postgres(connection, sessions))
            }
        }
    }

    /// Asks for something that is not answered from memory alone.
    pub(crate) async fn ping(&mut self) -> sqlx::Result<()> {
        match self {
            Self::Sqlite { connection, path, file } => {
                if file_id(path) != *file {
                    // What is written to a file without a name is lost with the last connection.
                    return Err(sqlx::Error::protocol("the file has been removed or replaced"));
                }
                sqlx::query("SELECT name FROM sqlite_schema LIMIT 1")
                    .fetch_optional(connection)
                    .await?;
            }
            Self::Postgres(connection, _) => {
                sqlx::raw_sql("SELECT 1").execute(connection).await?;
            }
        }
        Ok(())
    }

    pub(crate) fn sessions(&self) -> Sessions {
        match self {
            Self::Sqlite { .. } => Sessions::Own,
            Self::Postgres(_, sessions) => *sessions,
        }
    }

    pub(crate) fn connection(&mut self) -> Connection<'_> {
        match self {
            Self::Sqlite { connection, .. } => Connection::Sqlite(connection),
            Self::Postgres(connection, _) => Connection::Postgres(connection),
        }
    }

    pub(crate) async fn close(self) {
        // There is nothing to be done about a connection that cannot even be closed.
        let _ = match self {
            Self::Sqlite { connection, .. } => connection.close().await,
            Self::Postgres(connection, _) => connection.close().await,
        };
    }
}
