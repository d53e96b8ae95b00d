//! A database of MongoDB.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::mongodb::bson::doc;
use ::mongodb::error::Error as MongoError;
use ::mongodb::options::{Acknowledgment, ClientOptions, ConnectionString, WriteConcern};
use ::mongodb::{Client, Database};
use common::secrets::Refusal;
use tokio::runtime::Handle;
use tokio::sync::OnceCell;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

/// How long to wait for a server that takes the request.
const SELECTION_TIMEOUT: Duration = Duration::from_secs(2);

/// How long an operation may take. The driver itself waits for a silent server for ever.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// Why something is not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server, or the way to it, has failed.
    #[error("MongoDB failed")]
    Failed(#[from] MongoError),
    /// It took longer than [`TIMEOUT`].
    #[error("MongoDB did not answer in time")]
    Timeout(#[from] Elapsed),
}

/// Whether a text is the URL of a MongoDB.
///
/// # Errors
/// What is expected. Its own errors may repeat a part of the URL.
pub fn check_url(url: &str) -> Result<(), &'static str> {
    parse(url).map(drop)
}

fn parse(url: &str) -> Result<ConnectionString, &'static str> {
    ConnectionString::parse(url).map_err(|_| "expected a URL such as mongodb://host:27017")
}

/// What leads to a database; clones share it.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

struct Inner {
    current: Mutex<Arc<Connected>>,
    database: String,
    app: &'static str,
    /// The runtime that lasts as long as the service, for the client's background tasks.
    runtime: Handle,
}

/// What a URL leads to, once it is needed.
struct Connected {
    url: String,
    database: OnceCell<Database>,
    prepared: OnceCell<()>,
}

impl Connected {
    fn new(url: &str) -> Arc<Self> {
        let (database, prepared) = (OnceCell::new(), OnceCell::new());
        Arc::new(Self { url: url.to_owned(), database, prepared })
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("database", &self.0.database).finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects when it is first needed, under the name of this application. Must be called inside the tokio runtime
    /// that the service ends with.
    #[must_use]
    pub fn open(url: &str, database: &str, app: &'static str) -> Self {
        let current = Mutex::new(Connected::new(url));
        let (database, runtime) = (database.to_owned(), Handle::current());
        Self(Arc::new(Inner { current, database, app, runtime }))
    }

    /// The database. To be asked for anew for each operation.
    ///
    /// # Errors
    /// When the URL cannot be resolved.
    pub async fn database(&self) -> Result<Database, MongoError> {
        self.database_at(&self.current()).await
    }

    /// Whether the server answers, and has been prepared.
    ///
    /// # Errors
    /// When it does not, or cannot be.
    pub async fn check<F>(&self, prepare: impl Fn(Database) -> F) -> Result<(), Error>
    where
        F: Future<Output = Result<(), Error>>,
    {
        self.check_at(&self.current(), prepare).await
    }

    /// Switches to what a new URL leads to, if that can be prepared. What is under way ends on the old connections. Another
    /// server is refused while this one `holds_data`.
    ///
    /// # Errors
    /// Why the old connections stay.
    pub async fn switch_to<E, F>(
        &self,
        url: &str,
        prepare: impl Fn(Database) -> F,
        holds_data: impl Future<Output = Result<bool, E>>,
    ) -> Result<(), Refusal>
    where
        E: Into<Refusal>,
        F: Future<Output = Result<(), Error>>,
    {
        let servers = |url: &str| parse(url).map(|url| (url.host_info, url.replica_set));
        let is_another = servers(url)? != servers(&self.current().url)?;
        let other = Connected::new(url);
        self.check_at(&other, prepare).await?;
        if is_another && holds_data.await.map_err(Into::into)? {
            return Err("it is another server, and there are jobs or data that do not move".into());
        }
        *self.0.current.lock().unwrap_or_else(PoisonError::into_inner) = other;
        Ok(())
    }

    async fn check_at<F>(
        &self,
        connected: &Connected,
        prepare: impl Fn(Database) -> F,
    ) -> Result<(), Error>
    where
        F: Future<Output = Result<(), Error>>,
    {
        let database = self.database_at(connected).await?;
        connected.prepared.get_or_try_init(|| prepare(database.clone())).await?;
        timeout(TIMEOUT, database.run_command(doc! { "ping": 1 })).await??;
        Ok(())
    }

    fn current(&self) -> Arc<Connected> {
        Arc::clone(&self.0.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn database_at(&self, connected: &Connected) -> Result<Database, MongoError> {
        let inner = &self.0;
        let database = connected.database.get_or_try_init(async || {
            let (url, database, app) = (connected.url.clone(), inner.database.clone(), inner.app);
            let connected = inner.runtime.spawn(async move { connect(&url, &database, app).await });
            connected.await.map_err(MongoError::custom)?
        });
        database.await.cloned()
    }
}

async fn connect(url: &str, database: &str, app: &str) -> Result<Database, MongoError> {
    let mut options = ClientOptions::parse(url).await?;
    options.app_name.get_or_insert_with(|| app.to_owned());
    options.server_selection_timeout = Some(SELECTION_TIMEOUT);
    options.connect_timeout = Some(SELECTION_TIMEOUT);
    options.write_concern = Some(
        WriteConcern::builder()
            .w(Acknowledgment::Majority)
            .journal(true)
            .w_timeout(TIMEOUT)
            .build(),
    );
    Ok(Client::with_options(options)?.database(database))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn writes_wait_for_the_journals_of_a_majority_whatever_the_url_says() {
        // The client connects with the first operation.
        let url = "mongodb://127.0.0.1:1/?w=0&journal=false&serverSelectionTimeoutMS=60000";
        let database = connect(url, "multivac", "test").await.unwrap();

        let concern = database.write_concern().unwrap();
        assert_eq!((&concern.w, concern.journal), (&Some(Acknowledgment::Majority), Some(true)));
    }
}
