//! Words and the audit trail, in the database.

use std::time::Duration;

use actix_web::http::StatusCode;
use chrono::{DateTime, SecondsFormat, SubsecRound as _, TimeDelta, Utc};
use common::{Metrics, ServiceContext};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use prometheus_client::metrics::counter::Counter;
use serde::{Serialize, Serializer};
use server::StartError;
use server::cli::Outcome;
use sqlx::FromRow;
use storage::{
    Batch, Connection, Database, Error, Execution, Item, Operation, Schema, Writer, either,
};
use utoipa::ToSchema;

use crate::config::Config;

/// What it keeps, and how that came about.
pub static SCHEMA: Schema = Schema {
    sqlite: sqlx::migrate!("migrations/sqlite"),
    postgres: sqlx::migrate!("migrations/postgres"),
};

/// Applies pending migrations, and says which.
pub(crate) async fn migrate(config: Config) -> Outcome {
    storage::migrate(&config.database, &SCHEMA).await
}

/// How many audit rows are removed with one commit, and how long others may write before the next.
const EXPIRED_ROWS: u64 = 1000;
const BETWEEN_REMOVALS: Duration = Duration::from_millis(100);

/// How often to look for expired audit rows, and when again if the database has failed.
const RETENTION_INTERVAL: Duration = Duration::from_mins(1);
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// A time as the API and SQLite write it: RFC 3339 in UTC with milliseconds.
#[derive(Clone, Copy, Debug, sqlx::Type)]
#[sqlx(transparent)]
pub(crate) struct Time(DateTime<Utc>);

impl Time {
    pub(crate) fn now() -> Self {
        Self(Utc::now().trunc_subsecs(3))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

/// A word that was jumbled.
#[derive(Clone, Debug, FromRow, Serialize, ToSchema)]
pub(crate) struct Randomize {
    /// The word as it was given.
    #[schema(example = "string")]
    pub(crate) original: String,
    /// When it was jumbled, in UTC with milliseconds.
    #[schema(value_type = String, format = DateTime, example = "2023-05-23T02:37:57.698Z")]
    pub(crate) created: Time,
    /// Its number, from 1 up.
    #[schema(example = 1, minimum = 1)]
    pub(crate) id: i64,
    /// When it was changed, which no request does.
    #[schema(value_type = Option<String>, format = DateTime, example = json!(null))]
    pub(crate) updated: Option<Time>,
    /// Its letters in another order, drawn at random.
    #[schema(example = "gsntri")]
    pub(crate) jumbled: String,
}

/// A request for words, and what it was answered.
#[derive(Clone, Debug, FromRow, Serialize, ToSchema)]
pub(crate) struct History {
    /// Its number, from 1 up.
    #[schema(example = 1, minimum = 1)]
    pub(crate) id: i64,
    /// When it came, in UTC with milliseconds.
    #[schema(value_type = String, format = DateTime, example = "2023-05-23T02:37:57.698Z")]
    pub(crate) created: Time,
    /// The method.
    #[schema(example = "POST")]
    pub(crate) method: String,
    /// The path as it was received.
    #[schema(example = "/api/randomizes")]
    pub(crate) route: String,
    /// The body as text, at most 4 KiB of it; `…` ends one that was longer.
    #[schema(example = "{\"word\":\"string\"}")]
    pub(crate) data: String,
    /// The status of the answer.
    #[schema(example = "201 CREATED")]
    pub(crate) status: String,
}

/// A request as the audit trail keeps it.
#[derive(Clone, Debug)]
pub(crate) struct Audited {
    pub(crate) created: Time,
    pub(crate) method: String,
    /// The path as it was received.
    pub(crate) route: String,
    /// The body as text.
    pub(crate) data: String,
}

/// What is written with one commit: a request, what it was answered, and the word that it brought.
#[derive(Debug)]
struct Entry {
    request: Audited,
    status: StatusCode,
    /// Original and jumbled.
    word: Option<(String, String)>,
}

impl Item for Entry {
    fn heap_bytes(&self) -> usize {
        let Self { request, word, .. } = self;
        let word = word.as_ref().map_or(0, |(original, jumbled)| original.len() + jumbled.len());
        request.method.len() + request.route.len() + request.data.len() + word
    }
}

/// The service's rows.
#[derive(Debug)]
pub(crate) struct Store {
    database: Database,
    writer: Writer<Entry, Option<i64>>,
    find: Operation,
    list: Operation,
    audit: Operation,
    pub(crate) metrics: StoreMetrics,
}

#[derive(Clone, Debug)]
pub(crate) struct StoreMetrics {
    words: Counter,
    pub(crate) unaudited: Counter,
    expired: Counter,
}

impl StoreMetrics {
    fn register(metrics: &Metrics) -> Self {
        let counter = |name, help| metrics.add(name, help, Counter::default());
        Self {
            words: counter("randomize_words", "Words that were jumbled"),
            unaudited: counter(
                "randomize_requests_unaudited",
                "Requests that left no audit row, because the database failed",
            ),
            expired: counter(
                "randomize_audit_rows_expired",
                "Audit rows removed after AUDIT_RETENTION",
            ),
        }
    }
}

const BATCH: Batch<Entry, Option<i64>> =
    Batch { operation: "insert_randomizes", execution: Execution::Script, write: insert };

impl Store {
    /// Begins to connect.
    ///
    /// # Errors
    /// When the database's URL is not usable.
    pub(crate) fn start(config: &Config, context: &ServiceContext) -> Result<Self, StartError> {
        let database = Database::start(&config.database, &SCHEMA, context)?;
        let store = Self {
            writer: Writer::start(&database, context, BATCH),
            find: database.operation("find_randomize"),
            list: database.operation("list_randomizes"),
            audit: database.operation("list_histories"),
            metrics: StoreMetrics::register(&context.metrics),
            database,
        };
        if let Some(retention) = config.audit.audit_retention {
            let retention = TimeDelta::from_std(retention).unwrap_or(TimeDelta::MAX);
            let expired = store.metrics.expired.clone();
            context.tasks.spawn(expire(store.database.clone(), retention, expired));
        }
        Ok(store)
    }

    /// Keeps a word, and the request that brought it: both or neither.
    ///
    /// # Errors
    /// When the database does not take them.
    pub(crate) async fn create(
        &self,
        request: Audited,
        original: String,
        jumbled: String,
    ) -> Result<Randomize, Error> {
        let created = request.created;
        let word = Some((original.clone(), jumbled.clone()));
        let entry = Entry { request, status: StatusCode::CREATED, word };
        let written = self.writer.write(entry).await;
        if written.is_err() {
            self.metrics.unaudited.inc();
        }
        // A batch returns an id for each word.
        let id = written?.unwrap_or_default();
        self.metrics.words.inc();
        Ok(Randomize { id, original, jumbled, created, updated: None })
    }

    /// Keeps a request that brought no word, and returns when it is kept. Where the database does not
    /// take it, that is counted: the client is answered what it was to be answered.
    pub(crate) async fn audit(&self, request: Audited, status: StatusCode) {
        if self.writer.write(Entry { request, status, word: None }).await.is_err() {
            self.metrics.unaudited.inc();
        }
    }

    /// Keeps a request that brought no word, soon.
    pub(crate) fn audit_later(&self, request: Audited, status: StatusCode) {
        self.writer.write_later(Entry { request, status, word: None });
    }

    /// The word with that id.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(crate) async fn find(&self, id: i64) -> Result<Option<Randomize>, Error> {
        self.database
            .read(&self.find, async |connection| {
                either!(connection, |connection| {
                    sqlx::query_as(queries::FIND).bind(id).fetch_optional(connection).await
                })
            })
            .await
    }

    /// Words with ids below `before`, the newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(crate) async fn list(&self, before: i64, limit: i64) -> Result<Vec<Randomize>, Error> {
        self.database
            .read(&self.list, async |connection| {
                either!(connection, |connection| {
                    sqlx::query_as(queries::LIST)
                        .bind(before)
                        .bind(limit)
                        .fetch_all(connection)
                        .await
                })
            })
            .await
    }

    /// Audit rows with ids below `before`, the newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(crate) async fn histories(&self, before: i64, limit: i64) -> Result<Vec<History>, Error> {
        self.database
            .read(&self.audit, async |connection| {
                either!(connection, |connection| {
                    let list = sqlx::query_as(queries::HISTORIES);
                    list.bind(before).bind(limit).fetch_all(connection).await
                })
            })
            .await
    }
}

/// What is asked of both databases.
pub(crate) mod queries {
    pub(crate) const FIND: &str = include_str!("store/find_randomize.sql");
    pub(crate) const LIST: &str = include_str!("store/list_randomizes.sql");
    pub(crate) const HISTORIES: &str = include_str!("store/list_histories.sql");
    pub(crate) const EXPIRE: &str = include_str!("store/expire_histories.sql");
}

/// Writes a batch: words and requests as one parameter each, so that one statement serves batches of any
/// size.
fn insert<'a>(
    connection: Connection<'a>,
    entries: &'a [Entry],
) -> BoxFuture<'a, sqlx::Result<Vec<Option<i64>>>> {
    async move {
        let words = entries.iter().filter_map(|Entry { request, word, .. }| {
            word.as_ref().map(|(original, jumbled)| (original, jumbled, request.created))
        });
        let requests = entries.iter().map(|Entry { request, status, .. }| {
            let Audited { created, method, route, data } = request;
            (created, method, route, data, status_line(*status))
        });
        let (words, requests) = (json(words)?, json(requests)?);
        let count = entries.iter().filter(|entry| entry.word.is_some()).count();
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let mut ids = match connection {
            Connection::Sqlite(connection) => {
                let insert = sqlx::query(include_str!("store/sqlite/insert_batch.sql"));
                let inserted = insert.bind(requests).bind(words).execute(connection).await?;
                // Nobody else writes meanwhile, so the words' ids are the last one and those before it.
                let last = inserted.last_insert_rowid();
                (last - count + 1..=last).collect()
            }
            Connection::Postgres(connection) => {
                let insert = sqlx::query_scalar(include_str!("store/postgres/insert_batch.sql"));
                let insert = insert.bind(words).bind(requests);
                let mut ids: Vec<i64> = insert.fetch_all(connection).await?;
                // Rows get ids in the order in which they are inserted, but may be returned in another.
                ids.sort_unstable();
                ids
            }
        }
        .into_iter();
        Ok(entries.iter().map(|entry| entry.word.as_ref().and_then(|_| ids.next())).collect())
    }
    .boxed()
}

/// An array of arrays.
fn json<T: Serialize>(rows: impl Iterator<Item = T>) -> sqlx::Result<String> {
    serde_json::to_string(&rows.collect::<Vec<_>>())
        .map_err(|error| sqlx::Error::Encode(error.into()))
}

/// `201 CREATED`.
fn status_line(status: StatusCode) -> String {
    let reason = status.canonical_reason().unwrap_or_default().to_ascii_uppercase();
    [status.as_str(), " ", &reason].concat()
}

/// Removes audit rows that are older than `retention`, in batches that hold up nobody.
async fn expire(database: Database, retention: TimeDelta, expired: Counter) {
    let operation = database.operation("expire_histories");
    loop {
        // Before the beginning of time there is nothing.
        let oldest = Utc::now().checked_sub_signed(retention).unwrap_or(DateTime::<Utc>::MIN_UTC);
        let removed = database
            .write(&operation, async |connection| {
                either!(connection, |connection| {
                    let removal = sqlx::query(queries::EXPIRE).bind(oldest);
                    Ok(removal.execute(connection).await?.rows_affected())
                })
            })
            .await;
        let pause = match removed {
            Ok(EXPIRED_ROWS) => BETWEEN_REMOVALS,
            Ok(_) => RETENTION_INTERVAL,
            // The readiness check tells of a database that is unavailable.
            Err(_) => AFTER_FAILURE,
        };
        expired.inc_by(removed.unwrap_or_default());
        tokio::time::sleep(pause).await;
    }
}
