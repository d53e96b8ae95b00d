use tempfile::TempDir;

use super::database::Database;
use super::postgres::Postgres;

/// One of the two databases that services keep rows in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sql {
    /// In a file.
    Sqlite,
    /// The server that the tests share.
    Postgres,
}

/// A database of one test, gone when this is dropped.
pub struct SqlDatabase {
    url: String,
    folder: Option<TempDir>,
    _database: Option<Database>,
}

impl Sql {
    /// An empty database, or none where the server is missing, which has then been noted.
    ///
    /// # Panics
    /// When a folder cannot be made.
    pub async fn database(self) -> Option<SqlDatabase> {
        if self == Self::Sqlite {
            return Some(SqlDatabase::sqlite());
        }
        let database = Postgres::shared().await?.database().await;
        Some(SqlDatabase::postgres(database))
    }

    /// A copy of the database that `prepare` has made of an empty one, once for each name of a
    /// `template`; for SQLite it is called each time.
    ///
    /// # Panics
    /// When a folder cannot be made.
    pub async fn database_from(
        self,
        template: &str,
        prepare: impl AsyncFnOnce(String),
    ) -> Option<SqlDatabase> {
        if self == Self::Sqlite {
            let database = SqlDatabase::sqlite();
            prepare(database.url.clone()).await;
            return Some(database);
        }
        let database = Postgres::shared().await?.database_from(template, prepare).await;
        Some(SqlDatabase::postgres(database))
    }
}

impl SqlDatabase {
    fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let url = format!("sqlite://{}", folder.path().join("data/test.db").display());
        Self { url, folder: Some(folder), _database: None }
    }

    fn postgres(database: Database) -> Self {
        Self { url: database.url().to_owned(), folder: None, _database: Some(database) }
    }

    /// How a client gets to it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The folder `data` that SQLite's file is in, missing until it is made.
    ///
    /// # Panics
    /// Where it is PostgreSQL's.
    pub fn folder(&self) -> std::path::PathBuf {
        self.folder.as_ref().expect("SQLite has a folder").path().join("data")
    }
}

/// Makes of each function that takes a [`Sql`] two tests, `sqlite::<name>` and `postgres::<name>`.
#[macro_export]
macro_rules! on_both_databases {
    ($(async fn $name:ident($sql:ident: Sql) $body:block)*) => {
        $(async fn $name($sql: $crate::Sql) $body)*

        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::Sql::Sqlite).await;
            })*
        }

        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::Sql::Postgres).await;
            })*
        }
    };
}
